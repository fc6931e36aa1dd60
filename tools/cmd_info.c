// SPDX-License-Identifier: MIT
/* snvme info: all about a controller and its namespaces. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <snvme/nvme.h>

#include "tool.h"

static const char help[] =
	"usage: snvme info DEV [-o human|json]\n\n"
	"Shows what the controller of DEV is and has, its queues, and its active namespaces.\n";

static json_t *ns_json(const struct ns_name *name, const struct snvme_ns_info *ns)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "name", json_text(name->name),
			 "nsid", (json_int_t)ns->nsid, "lba_size", (json_int_t)ns->lba_size,
			 "metadata_size", (json_int_t)ns->metadata_size, "protection",
			 (json_int_t)ns->protection, "blocks", (json_int_t)ns->blocks, "bytes",
			 (json_int_t)(ns->blocks * ns->lba_size));
}

static json_t *info_json(const struct snvme_ctrl_info *info)
{
	json_t *value, *queues;

	value = json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
			  json_text(info->name), "pci", json_text(info->pci), "serial",
			  json_text(info->serial), "model", json_text(info->model), "firmware",
			  json_text(info->firmware), "nn", (json_int_t)info->nn, "max_transfer",
			  (json_int_t)info->max_transfer, "cmb_bytes", (json_int_t)info->cmb_bytes, "max_entries",
			  (json_int_t)info->max_entries, "timeout_ms",
			  (json_int_t)info->timeout_ms, "page_size", (json_int_t)info->page_size);
	queues = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "granted_sq",
			   (json_int_t)info->granted_sq, "granted_cq", (json_int_t)info->granted_cq,
			   "driver_queues", (json_int_t)info->driver_queues, "used_sq",
			   (json_int_t)info->used_sq, "used_cq", (json_int_t)info->used_cq,
			   "spare_sq", (json_int_t)info->spare_sq, "spare_cq",
			   (json_int_t)info->spare_cq);
	json_object_update(value, queues);
	json_decref(queues);
	json_object_set_new(value, "epoch", json_integer((json_int_t)info->epoch));
	json_object_set_new(value, "events", json_integer((json_int_t)info->events));
	json_object_set_new(value, "last_event", json_integer((json_int_t)info->last_event));
	json_object_set_new(value, "live", json_boolean(info->live));
	json_object_set_new(value, "shadow_doorbells", json_boolean(info->shadow_doorbells));
	json_object_set_new(value, "iommu", json_boolean(info->iommu));
	json_object_set_new(value, "volatile_write_cache",
			    json_boolean(info->volatile_write_cache));
	return value;
}

static void print_info(const struct snvme_ctrl_info *info)
{
	printf(info->pci[0] ? "%s at %s\n" : "%s, run by this process\n", info->name, info->pci);
	printf("  model                 %s\n", info->model);
	printf("  serial                %s\n", info->serial);
	printf("  firmware              %s\n", info->firmware);
	printf("  state                 %s, %" PRIu64 " resets seen\n",
	       info->live ? "live" : "being reset or gone", info->epoch);
	printf("  queues granted        %u submission, %u completion\n", info->granted_sq,
	       info->granted_cq);
	printf("  of the kernel driver  %u\n", info->driver_queues);
	printf("  used through snvme    %u submission, %u completion\n", info->used_sq,
	       info->used_cq);
	printf("  spare                 %u submission, %u completion\n", info->spare_sq,
	       info->spare_cq);
	printf("  largest ring          %u entries\n", info->max_entries);
	printf("  largest transfer      %" PRIu64 " bytes\n", info->max_transfer);
	if (info->cmb_bytes)
		printf("  memory of its own     %" PRIu64 " bytes, for rings\n", info->cmb_bytes);
	printf("  memory page           %u bytes\n", info->page_size);
	printf("  reset takes at most   %u ms\n", info->timeout_ms);
	printf("  doorbells             %s\n",
	       info->shadow_doorbells ? "shadow (Doorbell Buffer Config)" : "registers");
	printf("  IOMMU                 %s\n", info->iommu ? "translates" : "off");
	printf("  volatile write cache  %s\n", info->volatile_write_cache ? "yes" : "no");
	if (info->events)
		printf("  events                %u, the last %08x\n", info->events, info->last_event);
	printf("  namespaces            numbers up to %u\n", info->nn);
}

static void print_ns(const struct ns_name *name, const struct snvme_ns_info *ns)
{
	char size[16];

	printf("%s: namespace %u, %" PRIu64 " blocks of %u bytes (%s)", name->name, ns->nsid,
	       ns->blocks, ns->lba_size, human_size(ns->blocks * ns->lba_size, size));
	if (ns->metadata_size)
		printf(", %u bytes of metadata", ns->metadata_size);
	if (ns->protection)
		printf(", protection type %u", ns->protection);
	putchar('\n');
}

/* The namespaces of a controller that the kernel does not know, as ctrl_namespaces(). */
static size_t active_namespaces(struct snvme_ctrl *ctrl, const char *name, struct ns_name **out)
{
	struct snv_ns_list *list = xcalloc(1, sizeof(*list));
	struct snvme_admin cmd = {
		.opcode = SNV_ADMIN_IDENTIFY, .cdw10 = SNV_CNS_ACTIVE_NS_LIST, .data = list,
		.length = sizeof(*list),
	};
	int ret = snvme_admin(ctrl, &cmd);
	size_t n = 0;

	if (ret)
		die("the list of namespaces: %s", snvme_strerror(ret));
	*out = xcalloc(1024, sizeof(**out));
	for (; n < 1024 && le32toh(list->nsid[n]); n++) {
		(*out)[n].nsid = le32toh(list->nsid[n]);
		snprintf((*out)[n].name, sizeof((*out)[n].name), "%.16sn%u", name,
			 (*out)[n].nsid);
	}
	free(list);
	return n;
}

int cmd_info(int argc, char **argv)
{
	json_t *value = NULL, *namespaces = NULL;
	struct snvme_ctrl_info info;
	struct snvme_ctrl *ctrl;
	struct ns_name *names;
	bool json = common_options(argc, argv, help);
	size_t n;
	int ret;

	if (argc - optind != 1)
		die_usage("info takes one device");

	ctrl = ctrl_open(argv[optind]);
	ret = snvme_get_info(ctrl, &info);
	if (ret)
		die("%s: %s", argv[optind], snvme_strerror(ret));
	if (json) {
		value = info_json(&info);
		namespaces = json_array();
		json_object_set_new(value, "namespaces", namespaces);
	} else {
		print_info(&info);
	}
	n = is_own(argv[optind]) ? active_namespaces(ctrl, info.name, &names) :
				    ctrl_namespaces("", info.name, &names);
	for (size_t i = 0; i < n; i++) {
		struct snvme_ns_info ns;

		ret = snvme_get_ns(ctrl, names[i].nsid, &ns);
		if (ret == -ENOENT)
			continue;	/* detached since it was listed */
		if (ret)
			die("%s: %s", names[i].name, snvme_strerror(ret));
		if (json)
			json_array_append_new(namespaces, ns_json(&names[i], &ns));
		else
			print_ns(&names[i], &ns);
	}
	free(names);
	snvme_close(ctrl);
	if (json)
		json_print(value);
	return 0;
}
