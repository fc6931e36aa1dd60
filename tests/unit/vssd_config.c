// SPDX-License-Identifier: MIT
/*
 * What vssd's home makes of a line and of a JSON file: each value where it belongs, and for what is
 * wrong a sentence that names it.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../vssd/user/config.c"

#include "tap.h"

static char dir[] = "/tmp/vssd_config.XXXXXX";
static char why[256];

static const char *in_dir(const char *name)
{
	static char path[4][PATH_MAX];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void make_file(const char *name, const char *text, size_t size)
{
	int fd = open(in_dir(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || (size && ftruncate(fd, size)))
		diag("%s: %s", name, strerror(errno));
	close(fd);
}

/* Parse @text, in which @ stands for the directory. */
static int parse(const char *text, struct vssd_spec *spec)
{
	char line[1024] = "";

	for (; *text; text++) {
		size_t n = strlen(line);

		snprintf(line + n, sizeof(line) - n, *text == '@' ? "%s" : "%.1s",
			 *text == '@' ? dir : text);
	}
	why[0] = '\0';
	return vssd_spec_parse(line, spec, why, sizeof(why));
}

static int parse_json(const char *json, struct vssd_spec *spec)
{
	make_file("c.json", json, 0);
	return parse("config=@/c.json", spec);
}

static void refuse(int ret, struct vssd_spec *spec, const char *text, int want, const char *sentence)
{
	is(ret, want, "refused: %s", text);
	ok(strstr(why, sentence), "because: %s", why);
	ok(!spec->ns && !spec->fault && !spec->n_ns, "nothing is left of it");
	if (!ret)
		vssd_spec_free(spec);
}

static void test_lines(void)
{
	struct vssd_ctrl_config defaults;
	struct vssd_spec s;

	vssd_ctrl_defaults(&defaults);
	is(parse("ram,size=1G", &s), 0, "ram,size=1G");
	ok(s.n_ns == 1 && s.ns[0].medium == VSSD_RAM && s.ns[0].file.size == 1 << 30, "a GiB");
	ok(s.ns[0].ns.lba_size == 512 && !s.ns[0].ns.metadata && !s.ns[0].ns.nsid &&
	   s.ns[0].ns.csi == VSSD_CSI_NVM, "of 512-byte blocks");
	ok(s.threads == 1 && !s.config.serial && !s.config.power_loss && !s.n_faults &&
	   s.config.timing.model == VSSD_MODEL_NONE, "one thread, nothing special");
	ok(!memcmp(&s.ctrl, &defaults, sizeof(defaults)), "the default controller");
	vssd_spec_free(&s);

	is(parse("null=4T,lba=4096,queues=8,grant=3,threads=0,serial=S1,model=A drive,seed=0x10,"
		 "timing=tlc,max_inflight=7,mqes=1024,dstrd=2,mdts=5,sgl=off,dbbuf,wrr=yes,cqr=1,"
		 "ready_ms=10,cmb=64k,vectors=3,nsid=9", &s), 0, "a line with much in it");
	ok(s.ns[0].medium == VSSD_NULL && s.ns[0].file.size == 4ULL << 40 &&
	   s.ns[0].ns.lba_size == 4096 && s.ns[0].ns.nsid == 9, "the namespace");
	ok(s.ctrl.queues == 8 && s.ctrl.grant == VSSD_GRANT_FIXED && s.ctrl.granted == 3 &&
	   s.ctrl.mqes == 1024 && s.ctrl.dstrd == 2 && s.ctrl.mdts == 5 && !s.ctrl.sgl &&
	   s.ctrl.dbbuf && s.ctrl.wrr && s.ctrl.cqr && s.ctrl.ready_ns == 10000000 &&
	   s.ctrl.cmb_size == 65536 && s.ctrl.vectors == 3, "the controller");
	ok(!s.threads && s.config.seed == 16 && s.config.max_inflight == 7 &&
	   s.config.timing.model == VSSD_MODEL_FLASH && s.config.timing.channels == 8,
	   "the subsystem");
	is_str(s.config.serial, "S1", "its serial number");
	is_str(s.config.model, "A drive", "its model number");
	vssd_spec_free(&s);

	is(parse("ram,size=16M,lba=4096,zone_size=1M,zone_capacity=768K,max_open=4,max_active=6,"
		 "grant=max", &s), 0, "zones");
	ok(s.ns[0].ns.csi == VSSD_CSI_ZNS && s.ns[0].ns.zone_blocks == 256 &&
	   s.ns[0].ns.zone_capacity == 192 && s.ns[0].ns.max_open == 4 &&
	   s.ns[0].ns.max_active == 6 && s.ctrl.grant == VSSD_GRANT_MAX, "in blocks");
	vssd_spec_free(&s);

	is(parse("ram=1M,metadata=8,pi=1,pi_first,extended,power_loss,grant=asked", &s), 0,
	   "protection information");
	ok(s.ns[0].ns.metadata == 8 && s.ns[0].ns.pi == 1 && s.ns[0].ns.pi_first &&
	   s.ns[0].ns.extended && s.config.power_loss && s.ctrl.grant == VSSD_GRANT_ASKED, "is there");
	vssd_spec_free(&s);

	make_file("disk", "", 1000);
	is(parse("file=@/disk,readonly,direct=false", &s), 0, "a file");
	ok(s.ns[0].medium == VSSD_FILE && s.ns[0].file.readonly && s.ns[0].file.buffered &&
	   s.ns[0].file.block == 512, "through the page cache");
	is_str(s.ns[0].file.path, in_dir("disk"), "by its path");
	vssd_spec_free(&s);
	is(parse("file=@/new,size=1M,lba=4096,metadata=8", &s), 0, "a file to be made");
	ok(s.ns[0].file.size == 1 << 20 && s.ns[0].file.block == 4104 && !s.ns[0].file.buffered,
	   "with that size");
	ok(access(in_dir("new"), F_OK), "which parsing does not make");
	vssd_spec_free(&s);
}

static void test_bad_lines(void)
{
	static const struct {
		const char *text;
		int ret;
		const char *sentence;
	} bad[] = {
		{ "", -EINVAL, "'': must begin with ram" },
		{ "disk=1", -EINVAL, "'disk': must begin with ram" },
		{ "RAM,size=1G", -EINVAL, "'RAM'" },
		{ "ram", -EINVAL, "ram: needs a size" },
		{ "null,lba=512", -EINVAL, "null: needs a size" },
		{ "file", -EINVAL, "file: needs a path" },
		{ "dir=", -EINVAL, "dir: needs a path" },
		{ "config", -EINVAL, "config: needs a path" },
		{ "ram,size=1G,", -EINVAL, "(nothing): no such key" },
		{ "ram,size=1G,colour=red", -EINVAL, "colour: no such key" },
		{ "ram,size=1G,=3", -EINVAL, "(nothing): no such key" },
		{ "ram,size", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=-1", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=1X", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=1GB", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=1.5G", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size= 1G", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=99999999T", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=18446744073709551616", -EINVAL, "namespaces[0].ram: must be a size" },
		{ "ram,size=511", -EINVAL, "from 512 bytes on" },
		{ "ram,size=512,lba=4096", -EINVAL, "namespaces[0].size: less than a block, 4096" },
		{ "ram,size=1G,lba=1024", -EINVAL, "namespaces[0].lba: must be 512 or 4096" },
		{ "ram,size=1G,lba=x", -EINVAL, "namespaces[0].lba: must be a number from 512 to" },
		{ "ram,size=1G,lba=4K", -EINVAL, "namespaces[0].lba: must be a number" },
		{ "ram,size=1G,metadata=4", -EINVAL, "namespaces[0].metadata: must be 0 or 8" },
		{ "ram,size=1G,pi=1", -EINVAL, "namespaces[0].pi: needs metadata 8" },
		{ "ram,size=1G,pi_first", -EINVAL, "namespaces[0].pi_first: needs metadata 8" },
		{ "ram,size=1G,extended", -EINVAL, "namespaces[0].extended: needs metadata 8" },
		{ "ram,size=1G,metadata=8,pi=4", -EINVAL, "namespaces[0].pi: must be a number from 0" },
		{ "ram,size=1G,readonly", -EINVAL, "namespaces[0].readonly: for files only" },
		{ "ram,size=1G,direct=0", -EINVAL, "namespaces[0].direct: for files only" },
		{ "ram,size=1G,nsid=0", -EINVAL, "namespaces[0].nsid: must be a number from 1 to 256" },
		{ "file=/dev/null,zone_size=1M", -EINVAL, "namespaces[0].zoned: zones are for ram" },
		{ "ram,size=1G,max_open=1", -EINVAL, "namespaces[0].zoned.zone_size: must be given" },
		{ "ram,size=1G,lba=4096,zone_size=1000", -EINVAL, "zoned.zone_size: must be given" },
		{ "ram,size=1G,zone_size=1M,zone_capacity=2M", -EINVAL, "zoned.zone_capacity: must be" },
		{ "ram,size=1G,queues=0", -EINVAL, "controller.queues: must be a number from 1 to 1024" },
		{ "ram,size=1G,queues=1025", -EINVAL, "controller.queues: must be a number" },
		{ "ram,size=1G,grant=most", -EINVAL, "controller.grant: must be asked, max or" },
		{ "ram,size=1G,grant=0", -EINVAL, "controller.grant: must be asked, max or" },
		{ "ram,size=1G,mqes=1", -EINVAL, "controller.mqes: must be a number from 2 to 65536" },
		{ "ram,size=1G,dstrd=11", -EINVAL, "controller.dstrd" },
		{ "ram,size=1G,mpsmin=2,mpsmax=1", -EINVAL, "controller.mpsmax: must not be less" },
		{ "ram,size=1G,cmb=1000", -EINVAL, "controller.cmb: must be a multiple of 4096" },
		{ "ram,size=1G,sgl=perhaps", -EINVAL, "controller.sgl: must be true or false" },
		{ "ram,size=1G,threads=65", -EINVAL, "threads: must be a number from 0 to 64" },
		{ "ram,size=1G,threads=", -EINVAL, "threads: must be a number" },
		{ "ram,size=1G,seed=x", -EINVAL, "seed: must be a number" },
		{ "ram,size=1G,serial=", -EINVAL, "serial: must be a text of 1 to 20 bytes" },
		{ "ram,size=1G,serial=123456789012345678901", -EINVAL, "serial: must be a text" },
		{ "ram,size=1G,timing=fast", -EINVAL,
		  "timing: must be none, optane, tlc, qlc or slow" },
		{ "ram,size=1G,units=4", -EINVAL, "units: no such key" },
		{ "null,size=1G,power_loss", -EINVAL, "power_loss: with ram namespaces only, and "
		  "namespaces[0]" },
		{ "file=@/none", -ENOENT, "/none: no such file, and no size=" },
		{ "file=@", -EINVAL, "neither a regular file nor a block device" },
		{ "dir=@/none", -ENOENT, "/none: No such file" },
		{ "dir=@/c.json", -ENOTDIR, "/c.json: Not a directory" },
		{ "config=@/none", -ENOENT, "/none: No such file" },
		{ "config=@", -EINVAL, "line" },
		{ "config=@/c.json,lba=512", -EINVAL, "lba: no such key beside config" },
	};

	make_file("c.json", "{}", 0);
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct vssd_spec s;

		refuse(parse(bad[i].text, &s), &s, bad[i].text, bad[i].ret, bad[i].sentence);
	}
}

static void test_dir(void)
{
	struct vssd_spec s;
	char name[32];

	if (mkdir(in_dir("d"), 0755) || mkdir(in_dir("d/sub"), 0755) ||
	    mkfifo(in_dir("d/pipe"), 0644) || symlink("b", in_dir("d/link")))
		diag("%s", strerror(errno));
	make_file("d/empty", "", 0);
	refuse(parse("dir=@/d/sub", &s), &s, "a directory without files", -EINVAL,
	       "no regular file with anything in it");
	make_file("d/b", "b", 1024);
	make_file("d/a", "a", 512);
	is(parse("dir=@/d,lba=4096,readonly", &s), 0, "a directory");
	is(s.n_ns, 3, "each regular file in it, by whatever name, and nothing else");
	for (uint32_t i = 0; i < s.n_ns; i++) {
		static const char *const want[] = { "d/a", "d/b", "d/link" };

		is_str(s.ns[i].file.path, in_dir(want[i]), "in the order of names");
		ok(!s.ns[i].ns.nsid && s.ns[i].file.readonly && s.ns[i].file.block == 4096,
		   "as the line says");
	}
	vssd_spec_free(&s);
	refuse(parse("dir=@/d,size=1G", &s), &s, "dir with size", -EINVAL, "size: not with dir");
	refuse(parse("dir=@/d,nsid=1", &s), &s, "dir with nsid", -EINVAL, "nsid: not with dir");
	for (int i = 0; i < VSSD_MAX_NS; i++) {
		snprintf(name, sizeof(name), "d/f%d", i);
		make_file(name, "x", 0);
	}
	refuse(parse("dir=@/d", &s), &s, "too many files", -EINVAL, "namespaces: more than 256");
}

static void test_json(void)
{
	struct vssd_spec s;

	is(parse_json("{}", &s), 0, "an empty configuration");
	ok(!s.n_ns && s.threads == 1 && s.ctrl.queues == 64, "has a controller and no namespaces");
	vssd_spec_free(&s);

	is(parse_json("{ \"serial\": \"J1\", \"threads\": 2, \"seed\": 18, \"power_loss\": true,"
		      "  \"timing\": { \"preset\": \"tlc\", \"read_ns\": 5, \"buffer\": \"1M\" },"
		      "  \"controller\": { \"queues\": 16, \"grant\": 4, \"sgl\": false },"
		      "  \"namespaces\": ["
		      "    { \"ram\": \"64M\", \"lba\": 4096, \"metadata\": 8, \"pi\": 1 },"
		      "    { \"ram\": 1048576, \"nsid\": 7, \"zoned\": { \"zone_size\": \"128K\","
		      "                                                \"max_open\": 3 } } ],"
		      "  \"faults\": ["
		      "    { \"action\": \"status\", \"status\": \"0x281\", \"opcode\": 2, \"nsid\": 1,"
		      "      \"slba\": 100, \"nlb\": 8, \"ppm\": 500000, \"skip\": 1, \"count\": 2 },"
		      "    { \"action\": \"delay\", \"delay_ns\": 1000, \"admin\": true },"
		      "    { \"action\": \"power_cut\" } ] }", &s), 0, "a configuration: %s", why);
	is_str(s.config.serial, "J1", "serial");
	ok(s.threads == 2 && s.config.seed == 18 && s.config.power_loss, "the subsystem");
	ok(s.config.timing.model == VSSD_MODEL_FLASH && s.config.timing.read_ns == 5 &&
	   s.config.timing.buffer == 1 << 20 && s.config.timing.channels == 8,
	   "a preset, and what differs from it");
	ok(s.ctrl.queues == 16 && s.ctrl.grant == VSSD_GRANT_FIXED && s.ctrl.granted == 4 &&
	   !s.ctrl.sgl, "the controller");
	ok(s.n_ns == 2 && s.ns[0].file.size == 64 << 20 && s.ns[0].ns.lba_size == 4096 &&
	   s.ns[0].ns.metadata == 8 && s.ns[0].ns.pi == 1 && s.ns[0].ns.csi == VSSD_CSI_NVM,
	   "a namespace");
	ok(s.ns[1].ns.nsid == 7 && s.ns[1].ns.csi == VSSD_CSI_ZNS && s.ns[1].ns.max_open == 3 &&
	   s.ns[1].ns.zone_blocks == 256 && !s.ns[1].ns.zone_capacity, "one with zones");
	ok(s.n_faults == 3 && s.fault[0].action == VSSD_FAULT_STATUS && s.fault[0].status == 0x281 &&
	   s.fault[0].opcode == 2 && s.fault[0].nsid == 1 && s.fault[0].slba == 100 &&
	   s.fault[0].nlb == 8 && s.fault[0].ppm == 500000 && s.fault[0].skip == 1 &&
	   s.fault[0].count == 2 && !s.fault[0].admin, "a fault");
	ok(s.fault[1].action == VSSD_FAULT_DELAY && s.fault[1].delay_ns == 1000 &&
	   s.fault[1].admin && s.fault[1].opcode == -1 && s.fault[2].action == VSSD_FAULT_POWER_CUT,
	   "others");
	vssd_spec_free(&s);

	make_file("c.json", "{ \"threads\": 3, \"namespaces\": [ { \"null\": \"1G\" } ],"
		  " \"controller\": { \"queues\": 3, \"mqes\": 99 } }", 0);
	is(parse("config=@/c.json,threads=5,queues=9,timing=slow", &s), 0, "keys after config");
	ok(s.threads == 5 && s.ctrl.queues == 9 && s.ctrl.mqes == 99 && s.n_ns == 1 &&
	   s.config.timing.model == VSSD_MODEL_FIXED, "are laid over it");
	vssd_spec_free(&s);
}

static void test_bad_json(void)
{
	static const struct {
		const char *json;
		const char *sentence;
	} bad[] = {
		{ "", "/c.json: line 1" },
		{ "{\n\n,}", "/c.json: line 3" },
		{ "[]", "/c.json: must be an object" },
		{ "{ \"seed\": 1, \"seed\": 2 }", "duplicate" },
		{ "{ \"nothing\": 1 }", "nothing: no such key" },
		{ "{ \"threads\": \"many\" }", "threads: must be a number from 0 to 64" },
		{ "{ \"threads\": 1.0 }", "threads: must be a number" },
		{ "{ \"threads\": -1 }", "threads: must be a number" },
		{ "{ \"threads\": null }", "threads: must be a number" },
		{ "{ \"serial\": 7 }", "serial: must be a text" },
		{ "{ \"power_loss\": 2 }", "power_loss: must be true or false" },
		{ "{ \"controller\": 3 }", "controller: must be an object" },
		{ "{ \"controller\": { \"quues\": 3 } }", "controller.quues: no such key" },
		{ "{ \"controller\": { \"grant\": true } }", "controller.grant: must be asked" },
		{ "{ \"timing\": 3 }", "timing: must be an object" },
		{ "{ \"timing\": { \"preset\": \"x\" } }", "timing.preset: must be none, optane" },
		{ "{ \"timing\": { \"model\": \"x\" } }", "timing.model: must be none, fixed or flash" },
		{ "{ \"timing\": { \"reed_ns\": 1 } }", "timing.reed_ns: no such key" },
		{ "{ \"timing\": { \"preset\": \"tlc\", \"page\": 3000 } }", "timing.page: must be a power" },
		{ "{ \"timing\": { \"spare_permille\": 19 } }", "timing.spare_permille: must be" },
		{ "{ \"namespaces\": {} }", "namespaces: must be an array" },
		{ "{ \"namespaces\": [ 1 ] }", "namespaces[0]: must be an object" },
		{ "{ \"namespaces\": [ {} ] }", "namespaces[0]: must have one of ram, null, file" },
		{ "{ \"namespaces\": [ { \"ram\": \"1G\", \"null\": \"1G\" } ] }",
		  "namespaces[0]: must have one of" },
		{ "{ \"namespaces\": [ { \"ram\": \"1G\" }, { \"ram\": true } ] }",
		  "namespaces[1].ram: must be a size" },
		{ "{ \"namespaces\": [ { \"ram\": \"1G\", \"zoned\": 1 } ] }",
		  "namespaces[0].zoned: must be an object" },
		{ "{ \"namespaces\": [ { \"ram\": \"1G\", \"zoned\": { \"zones\": 1 } } ] }",
		  "namespaces[0].zoned.zones: no such key" },
		{ "{ \"namespaces\": [ { \"file\": 1 } ] }", "namespaces[0].file: must be a text" },
		{ "{ \"faults\": 1 }", "faults: must be an array" },
		{ "{ \"faults\": [ {} ] }", "faults[0].action: must be given" },
		{ "{ \"faults\": [ { \"action\": \"burn\" } ] }",
		  "faults[0].action: must be status, delay, lose, hang, duplicate, cfs, remove or "
		  "power_cut" },
		{ "{ \"faults\": [ { \"action\": \"cfs\", \"when\": 1 } ] }",
		  "faults[0].when: no such key" },
		{ "{ \"faults\": [ { \"action\": \"status\" } ] }", "faults[0].status: must be given" },
		{ "{ \"faults\": [ { \"action\": \"lose\", \"status\": 6 } ] }",
		  "faults[0].status: must be given" },
		{ "{ \"faults\": [ { \"action\": \"status\", \"status\": 2048 } ] }",
		  "faults[0].status: must be SCT << 8 | SC" },
		{ "{ \"faults\": [ { \"action\": \"delay\" } ] }", "faults[0].delay_ns: must be given" },
		{ "{ \"faults\": [ { \"action\": \"cfs\", \"opcode\": 256 } ] }",
		  "faults[0].opcode: must be a number from 0 to 255" },
		{ "{ \"faults\": [ { \"action\": \"cfs\", \"ppm\": 1000001 } ] }", "faults[0].ppm" },
		{ "{ \"faults\": [ { \"action\": \"hang\", \"admin\": true, \"nlb\": 1 } ] }",
		  "faults[0].nlb: admin commands have no blocks" },
	};
	struct vssd_spec s;

	for (size_t i = 0; i < COUNT(bad); i++)
		refuse(parse_json(bad[i].json, &s), &s, bad[i].json, -EINVAL, bad[i].sentence);
	make_file("c.json", "{ \"controller\": 3 }", 0);
	refuse(parse("config=@/c.json,queues=3", &s), &s, "a key laid over what is no object", -EINVAL,
	       "controller: must be an object");
	make_file("c.json", "[]", 0);
	refuse(parse("config=@/c.json,threads=3", &s), &s, "a key laid over an array", -EINVAL,
	       "must be an object");
	is(vssd_spec_parse("ram", &s, NULL, 0), -EINVAL, "nobody wants to know why");
	why[0] = 'x';
	is(vssd_spec_parse("ram", &s, why, 5), -EINVAL, "a short sentence");
	is_str(why, "ram:", "is cut off");
}

int main(void)
{
	char command[PATH_MAX];

	if (!mkdtemp(dir))
		skip_all("%s: %s", dir, strerror(errno));
	test_lines();
	test_bad_lines();
	test_json();
	test_bad_json();
	test_dir();
	snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command))
		diag("%s is left", dir);
	return done();
}
