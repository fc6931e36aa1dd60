// SPDX-License-Identifier: MIT
/* The medium that keeps nothing. */
#include "user.h"

static int null_submit(struct vssd_media *media, struct vssd_io *io)
{
	return vssd_io_check(media, io);
}

static void null_close(struct vssd_media *media)
{
	free(media);
}

static const struct vssd_media_ops null_ops = {
	.submit = null_submit,
	.close = null_close,
};

struct vssd_media *vssd_null_create(uint64_t size)
{
	struct vssd_media *media = calloc(1, sizeof(*media));

	if (media)
		*media = (struct vssd_media){ .ops = &null_ops, .size = size };
	return media;
}
