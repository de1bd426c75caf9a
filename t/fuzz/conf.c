/* SPDX-License-Identifier: MIT */
/*
 * Configuration files. What is taken is within its bounds; what is refused
 * has an error of one line that names the file. The first byte chooses the
 * program.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "lib/conf.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];
static int fd = -1;

static void
write_file(struct piece text, bool exposed)
{
    if (fd < 0) {
        fd = memfd_create("conf", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        setenv("FUZZ_SECRET", "s3cret", 1);
    }
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(fchmod(fd, exposed ? 0644 : 0640) == 0);
    CHECK(pwrite(fd, text.text, text.len, 0) == (ssize_t) text.len);
}

static void
check_bounds(const struct conf *conf)
{
    CHECK(conf->conninfo != NULL && conf->user != NULL);
    CHECK(conf->queue_directory[0] == '/');
    CHECK(conf->max_stale <= 86400 * 365u && conf->cache_ttl <= 86400 * 365u);
    CHECK(conf->database_connections >= 1);
    CHECK(conf->database_timeout_ms >= 1);
    CHECK(conf->hash_threads >= 1);
    CHECK(conf->secret_policy.iterations >= SECRET_ITERATIONS_MIN
          && conf->secret_policy.iterations <= SECRET_ITERATIONS_MAX);
    CHECK((conf->socket_mode_bits & ~0777u) == 0);
    CHECK((unsigned int) conf->legacy_md5 <= CONF_MD5_REFUSE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size};
    unsigned int choices = fuzz_choices(&input);
    enum conf_program program =
        choices & 1 ? CONF_MAILADMIN : CONF_POLICYD;
    struct conf *conf, *fresh;
    char error[512], *list;

    write_file(input, choices & 2);
    conf = conf_load(program, path, error, sizeof(error));
    if (conf == NULL) {
        CHECK(strncmp(error, path, strlen(path)) == 0);
        CHECK(strlen(error) < sizeof(error));
        return 0;
    }
    check_bounds(conf);
    fresh = conf_load(program, path, error, sizeof(error));
    CHECK(fresh != NULL);
    list = conf_reload(conf, fresh);
    CHECK(list != NULL && strcmp(list, "") == 0);
    free(list);
    conf_free(&fresh);
    write_file((struct piece){"", 0}, true);
    fresh = conf_load(program, path, error, sizeof(error));
    CHECK(fresh != NULL);
    free(conf_reload(conf, fresh));
    check_bounds(conf);
    conf_free(&fresh);
    conf_free(&conf);
    return 0;
}
