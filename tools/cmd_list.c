// SPDX-License-Identifier: MIT
/* snvme list: NVMe controllers, who drives them, and their queues. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define PCI_CLASS_NVME	"0x010802"	/* NVM Express I/O controller */

static const char help[] =
	"usage: snvme list [-o human|json]\n\n"
	"Lists the NVMe controllers of this machine: the PCI driver of each, its model and namespaces,\n"
	"and the I/O queues that it granted, that the kernel driver has, that snvme uses, and that are\n"
	"spare. '-' and a reason stand where they cannot be known.\n";

static const char columns[] = "%-8s %-12s %-10s %-24s %-16s %7s %6s %5s %5s  %s\n";

/* A controller that the kernel's nvme driver runs (@name), or a PCI device that it does not. */
static json_t *controller(const char *name, const char *pci, const char *transport)
{
	char driver[64], model[64] = "", reason[256] = "";
	json_t *entry, *namespaces = json_array();
	struct snvme_ctrl *ctrl;
	struct snvme_ctrl_info info;
	struct ns_name *ns;
	int ret;

	if (link_name(driver, sizeof(driver), "/sys/bus/pci/devices/%s/driver", pci))
		driver[0] = '\0';
	if (name) {
		size_t n = ctrl_namespaces("", name, &ns);

		for (size_t i = 0; i < n; i++)
			json_array_append_new(namespaces, json_text(ns[i].name));
		free(ns);
		read_line(model, sizeof(model), "/sys/class/nvme/%s/model", name);
	}
	entry = json_pack("{s:o, s:o, s:s?, s:o, s:s?, s:o}", "name",
			  name ? json_text(name) : json_null(), "pci", json_text(pci), "driver",
			  driver[0] ? driver : NULL, "model",
			  name ? json_text(model) : json_null(), "transport", transport,
			  "namespaces", namespaces);

	if (!driver[0] && !strcmp(transport, "pcie")) {
		snprintf(reason, sizeof(reason), "no driver is bound to it");
	} else if (!name) {
		snprintf(reason, sizeof(reason), "driven by %s, not by nvme", driver);
	} else if (strcmp(transport, "pcie")) {
		snprintf(reason, sizeof(reason), "not a PCIe controller (%s)", transport);
	} else {
		ret = snvme_open(name, &ctrl);
		if (ret) {
			open_reason(name, ret, reason, sizeof(reason));
		} else {
			ret = snvme_get_info(ctrl, &info);
			if (ret)
				snprintf(reason, sizeof(reason), "%s", snvme_strerror(ret));
			snvme_close(ctrl);
		}
		if (!ret) {
			json_t *queues = json_pack("{s:I, s:I, s:I, s:I}", "granted",
						   (json_int_t)info.granted_sq, "driver",
						   (json_int_t)info.driver_queues, "used",
						   (json_int_t)info.used_sq, "spare",
						   (json_int_t)info.spare_sq);

			json_object_set_new(entry, "queues", queues);
			json_object_set_new(entry, "reason", json_null());
			return entry;
		}
	}
	json_object_set_new(entry, "queues", json_null());
	json_object_set_new(entry, "reason", json_text(reason));
	return entry;
}

static const char *text(const json_t *entry, const char *key)
{
	const char *value = json_string_value(json_object_get(entry, key));

	return value && value[0] ? value : "-";
}

static json_t *controllers(void)
{
	json_t *list = json_array();
	char line[64], **names, **pci;
	size_t n, devices;

	n = list_dir("/sys/class/nvme", &names);
	for (size_t i = 0; i < n; i++) {
		char transport[16], address[64];

		read_line(transport, sizeof(transport), "/sys/class/nvme/%s/transport", names[i]);
		read_line(address, sizeof(address), "/sys/class/nvme/%s/address", names[i]);
		json_array_append_new(list, controller(names[i], address, transport));
	}
	free_names(names, n);

	devices = list_dir("/sys/bus/pci/devices", &pci);
	for (size_t i = 0; i < devices; i++) {
		bool listed = false;

		read_line(line, sizeof(line), "/sys/bus/pci/devices/%s/class", pci[i]);
		if (strcmp(line, PCI_CLASS_NVME))
			continue;
		for (size_t j = 0; j < json_array_size(list) && !listed; j++)
			listed = !strcmp(text(json_array_get(list, j), "pci"), pci[i]);
		if (!listed)
			json_array_append_new(list, controller(NULL, pci[i], "pcie"));
	}
	free_names(pci, devices);
	return list;
}

static void print_entry(const json_t *entry)
{
	static const char keys[4][8] = { "granted", "driver", "used", "spare" };
	json_t *queues = json_object_get(entry, "queues");
	json_t *namespaces = json_object_get(entry, "namespaces");
	char names[256] = "", number[4][16];

	for (size_t i = 0; i < json_array_size(namespaces); i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
			 i ? "," : "", json_string_value(json_array_get(namespaces, i)));
	for (size_t i = 0; i < 4; i++) {
		snprintf(number[i], sizeof(number[i]), "-");
		if (json_is_object(queues))
			snprintf(number[i], sizeof(number[i]), "%lld",
				 (long long)json_integer_value(json_object_get(queues, keys[i])));
	}
	printf(columns, text(entry, "name"), text(entry, "pci"), text(entry, "driver"),
	       text(entry, "model"), names[0] ? names : "-", number[0], number[1], number[2],
	       number[3], json_is_object(queues) ? "" : text(entry, "reason"));
}

int cmd_list(int argc, char **argv)
{
	bool json = common_options(argc, argv, help);
	json_t *list;

	if (optind < argc)
		die_usage("list takes no device; snvme info shows one");

	list = controllers();
	if (json) {
		json_print(json_pack("{s:o}", "controllers", list));
		return 0;
	}
	if (json_array_size(list) == 0)
		complain("this machine has no NVMe controller");
	else
		printf(columns, "NAME", "PCI", "DRIVER", "MODEL", "NAMESPACES", "GRANTED", "KERNEL",
		       "USED", "SPARE", "");
	for (size_t i = 0; i < json_array_size(list); i++)
		print_entry(json_array_get(list, i));
	json_decref(list);
	return 0;
}
