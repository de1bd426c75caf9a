/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static char folder[] = "/tmp/emailing-conf-XXXXXX";
static char path[64], secret_path[64];
static char error[512];

static void
write_file(const char *name, const char *text, size_t len)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(name, 0640), 0);
}

static struct conf *
load_as(enum conf_program program, const char *text)
{
    struct conf *conf;

    write_file(path, text, strlen(text));
    memset(error, '#', sizeof(error));
    conf = conf_load(program, path, error, sizeof(error));
    if (conf == NULL)
        assert_non_null(memchr(error, '\0', sizeof(error)));
    return conf;
}

static struct conf *
load(const char *text)
{
    struct conf *conf = load_as(CONF_POLICYD, text);

    if (conf == NULL)
        fail_msg("%s: %s", text, error);
    return conf;
}

/* The file is refused with "path:line: what", or "path: what" for line 0. */
static void
refused_as(enum conf_program program, const char *text, int line,
           const char *what)
{
    struct conf *conf = load_as(program, text);
    char want[512];

    if (conf != NULL)
        fail_msg("taken: %s", text);
    if (line > 0)
        snprintf(want, sizeof(want), "%s:%d: %s", path, line, what);
    else
        snprintf(want, sizeof(want), "%s: %s", path, what);
    assert_string_equal(error, want);
}

static void
refused(const char *text, int line, const char *what)
{
    refused_as(CONF_POLICYD, text, line, what);
}

/* The value of conninfo in a file that holds one line for it. */
static void
conninfo_is(const char *text, const char *want)
{
    struct conf *conf = load(text);

    assert_string_equal(conf->conninfo, want);
    conf_free(&conf);
    assert_null(conf);
}

static void
test_defaults(void **state)
{
    static const char *const empty[] = {"", "\n", "# nothing", "/* x */",
                                        " \t\r\n// x\n"};
    struct conf *conf;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(empty); i++) {
        conf = load(empty[i]);
        assert_string_equal(conf->conninfo, "");
        assert_string_equal(conf->queue_directory, "/var/spool/postfix");
        assert_string_equal(conf->policy_listen, "unix:emailing/policy");
        assert_string_equal(conf->auth_listen, "unix:emailing/auth");
        assert_string_equal(conf->auth_clients, "postfix root");
        assert_int_equal(conf->socket_mode_bits, 0660);
        assert_string_equal(conf->socket_group, "postfix");
        assert_string_equal(conf->user, "emailing");
        assert_string_equal(conf->status_listen, "");
        assert_string_equal(conf->recipient_delimiter, "");
        assert_false(conf->reject_unauthenticated);
        assert_false(conf->permit_null_sender);
        assert_true(conf->enforce);
        assert_true(conf->record_usage);
        assert_true(conf->cache_bytes == 256 * 1024 * 1024);
        assert_int_equal(conf->cache_ttl, 60);
        assert_int_equal(conf->max_stale, 300);
        assert_false(conf->preload);
        assert_int_equal(conf->database_connections, 4);
        assert_int_equal(conf->database_timeout_ms, 2000);
        assert_int_equal(conf->hash_threads, 2);
        assert_int_equal(conf->secret_policy.scheme, SECRET_YESCRYPT);
        assert_int_equal(conf->secret_policy.iterations, 16384);
        assert_false(conf->scram);
        assert_int_equal(conf->legacy_md5, CONF_MD5_UPGRADE);
        assert_int_equal(conf->log_to, LOG_TO_SYSLOG);
        assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
        assert_false(conf->log_permits);
        assert_false(conf->refusal_reference);
        conf_free(&conf);
    }
    conf_free(&conf);
}

static void
test_every_option(void **state)
{
    struct conf *conf = load(
        "conninfo = \"host=db dbname=emailing\"\n"
        "queue_directory = /srv/queue\n"
        "policy_listen = inet:127.0.0.1:10040 # TCP\n"
        "auth_listen = 'unix:e/auth'\n"
        "auth_clients = \"postfix\"\nsocket_mode = 0600\n"
        "socket_group = mail user = nobody\n"
        "status_listen = 127.0.0.1:9101\n"
        "recipient_delimiter = \"+-\"\nunauthenticated = reject\n"
        "null_sender = permit\ncache_bytes = 1099511627776\n"
        "cache_ttl = 1\nmax_stale = 0\npreload = yes\n"
        "database_connections = 64\ndatabase_timeout = 0.25\n"
        "hash_threads = 64\npassword_scheme = scram-sha-256\n"
        "scram = on\nscram_iterations = 65536\nlegacy_md5 = refuse\n"
        "log_to = stderr\nlog_level = debug\nlog_permits = true\n"
        "refusal_reference = yes\nenforce = no\nrecord_usage = no");
    struct decide_options options = conf_decide_options(conf);

    (void) state;
    assert_string_equal(conf->conninfo, "host=db dbname=emailing");
    assert_string_equal(conf->queue_directory, "/srv/queue");
    assert_string_equal(conf->policy_listen, "inet:127.0.0.1:10040");
    assert_string_equal(conf->auth_listen, "unix:e/auth");
    assert_string_equal(conf->auth_clients, "postfix");
    assert_int_equal(conf->socket_mode_bits, 0600);
    assert_string_equal(conf->socket_group, "mail");
    assert_string_equal(conf->user, "nobody");
    assert_string_equal(conf->status_listen, "127.0.0.1:9101");
    assert_true(options.reject_unauthenticated);
    assert_true(options.permit_null_sender);
    assert_true(options.observe);
    assert_false(conf->record_usage);
    assert_string_equal(options.recipient_delimiter, "+-");
    assert_true(conf->cache_bytes == UINT64_C(1099511627776));
    assert_int_equal(conf->cache_ttl, 1);
    assert_int_equal(conf->max_stale, 0);
    assert_true(conf->preload);
    assert_int_equal(conf->database_connections, 64);
    assert_int_equal(conf->database_timeout_ms, 250);
    assert_int_equal(conf->hash_threads, 64);
    assert_int_equal(conf->secret_policy.scheme, SECRET_SCRAM_SHA_256);
    assert_true(conf->scram);
    assert_int_equal(conf->secret_policy.iterations, 65536);
    assert_int_equal(conf->legacy_md5, CONF_MD5_REFUSE);
    assert_int_equal(conf->log_to, LOG_TO_STDERR);
    assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
    assert_true(conf->log_permits);
    assert_true(conf->refusal_reference);
    conf_free(&conf);
}

static void
test_bad_values(void **state)
{
    (void) state;
    refused("cache_ttl = 0", 1, "cache_ttl: out of range (1 to 86400)");
    refused("\n\ncache_ttl = 86401\n", 3,
            "cache_ttl: out of range (1 to 86400)");
    refused("cache_ttl = 1.5", 1, "cache_ttl: not a whole number");
    refused("cache_ttl = 1e3", 1, "cache_ttl: not a whole number");
    refused("cache_ttl = 0x10", 1, "cache_ttl: not a whole number");
    refused("cache_ttl = ' 5'", 1, "cache_ttl: not a whole number");
    refused("cache_ttl = -5", 1, "cache_ttl: not a whole number");
    refused("cache_ttl = ''", 1, "cache_ttl: not a whole number");
    refused("cache_ttl = 99999999999999999999999", 1,
            "cache_ttl: out of range (1 to 86400)");
    refused("cache_bytes = 1099511627777", 1,
            "cache_bytes: out of range (0 to 1099511627776)");
    refused("database_timeout = 0", 1,
            "database_timeout: out of range (0.1 to 60)");
    refused("database_timeout = nan", 1,
            "database_timeout: not a number of seconds");
    refused("database_timeout = 1.2.3", 1,
            "database_timeout: not a number of seconds");
    refused("database_timeout = .", 1,
            "database_timeout: not a number of seconds");
    refused("scram_iterations = 4095", 1,
            "scram_iterations: out of range (4096 to 65536)");
    refused("preload = maybe", 1, "preload: must be yes or no");
    refused("null_sender = Reject", 1,
            "null_sender: must be one of: reject permit");
    refused("socket_mode = 0666", 1, "socket_mode: must not let others in");
    refused("socket_mode = rw", 1,
            "socket_mode: must be an octal mode such as 0660");
    refused("socket_mode = 1777", 1,
            "socket_mode: must be an octal mode such as 0660");
    refused("socket_mode = ' 660'", 1,
            "socket_mode: must be an octal mode such as 0660");
    refused("queue_directory = spool", 1,
            "queue_directory: must be an absolute path");
}

/* A socket whose name cannot be bound is refused here, not at bind(2). */
static void
test_listen(void **state)
{
    static const char name[] =
        "0123456789012345678901234567890123456789012345678901234567890123456"
        "7890123456789012345678901234567890123456";
    char text[256];
    struct conf *conf;

    (void) state;
    assert_int_equal(strlen(name), 107);
    snprintf(text, sizeof(text), "policy_listen = unix:%s", name);
    conf = load(text);
    conf_free(&conf);
    snprintf(text, sizeof(text), "\npolicy_listen = unix:%sx", name);
    refused(text, 2, "policy_listen: path over 107 bytes");
    snprintf(text, sizeof(text), "\n\nauth_listen = unix:/%s", name);
    refused(text, 3, "auth_listen: path over 107 bytes");
    refused("policy_listen = unix:", 1, "policy_listen: empty path");
    refused("policy_listen = emailing/policy", 1,
            "policy_listen: must be unix:PATH or inet:ADDRESS:PORT");
    refused("policy_listen = inet:10040", 1,
            "policy_listen: must be unix:PATH or inet:ADDRESS:PORT");
    refused("policy_listen = inet::10040", 1,
            "policy_listen: must be unix:PATH or inet:ADDRESS:PORT");
    refused("policy_listen = inet:127.0.0.1:", 1,
            "policy_listen: port must be 1 to 65535");
    refused("policy_listen = inet:127.0.0.1:65536", 1,
            "policy_listen: port must be 1 to 65535");
    refused("policy_listen = inet:127.0.0.1:smtp", 1,
            "policy_listen: port must be 1 to 65535");
    refused("auth_listen = inet:127.0.0.1:10041", 1,
            "auth_listen: must be unix:PATH");
    refused("status_listen = 9101", 1,
            "status_listen: must be ADDRESS:PORT");
    refused("status_listen = localhost:0", 1,
            "status_listen: port must be 1 to 65535");
    conf = load("policy_listen = 'inet:[::1]:65535'\n"
                "status_listen = '[::1]:1'");
    conf_free(&conf);
}

static void
test_unknown_option(void **state)
{
    (void) state;
    refused("conninfo = x\nnonsense = 1\n", 2, "no such option 'nonsense'");
    refused("Conninfo = x\n", 1, "no such option 'Conninfo'");
    refused("conninfo", 1, "premature end of file");
    refused("cache_ttl += 5\n", 1,
            "attempt to append to non-list option 'cache_ttl'");
    refused("include(\"/dev/null\")\n", 1, "no such option 'include'");
    /* The first error is the one that is told. */
    refused("cache_ttl = 0\nnonsense = 1\n", 1,
            "cache_ttl: out of range (1 to 86400)");
}

static void
test_other_program(void **state)
{
    struct conf *conf = load_as(CONF_MAILADMIN,
                                "conninfo = 'dbname=e'\n"
                                "password_scheme = scram-sha-256\n");

    (void) state;
    assert_non_null(conf);
    assert_string_equal(conf->conninfo, "dbname=e");
    assert_int_equal(conf->secret_policy.scheme, SECRET_SCRAM_SHA_256);
    conf_free(&conf);
    refused_as(CONF_MAILADMIN, "conninfo = x\nlog_permits = yes\n", 2,
               "log_permits: belongs into emailing.conf");
}

/* Comments and long strings leave the count of lines right. */
static void
test_lines(void **state)
{
    (void) state;
    refused("# one\n# two\n\n# four\nnonsense = 1\n", 5,
            "no such option 'nonsense'");
    refused("// one\n//two\nuser = x // three\nnonsense = 1\n", 4,
            "no such option 'nonsense'");
    refused("/* one\n two */ /* two */\nuser = x /* three */ # three\n"
            "nonsense = 1\n",
            4, "no such option 'nonsense'");
    refused("conninfo = \"one\ntwo\n${env:EMAILING_T}\"\nnonsense = 1\n", 4,
            "no such option 'nonsense'");
    refused("conninfo = 'one\ntwo'\n#\nnonsense = 1\n", 4,
            "no such option 'nonsense'");
    refused("# ${env:EMAILING_T_NONE}\n\nuser = ${env:EMAILING_T_NONE}\n", 3,
            "cannot expand ${env:EMAILING_T_NONE}: not in the environment");
    refused("user = \"\\\n\n${env:EMAILING_T_NONE}\"\n", 3,
            "cannot expand ${env:EMAILING_T_NONE}: not in the environment");
}

static void
test_comments(void **state)
{
    (void) state;
    conninfo_is("conninfo = host#db\n", "host");
    conninfo_is("conninfo = postgresql://u@h/db\n", "postgresql://u@h/db");
    conninfo_is("conninfo = x // y\n", "x");
    conninfo_is("conninfo = \"a#b//c/*d*/\"\n", "a#b//c/*d*/");
    conninfo_is("conninfo = 'a#b//c/*d*/'\n", "a#b//c/*d*/");
    conninfo_is("conninfo /* is */ = /* a */ x /* or\n so */\n", "x");
    conninfo_is("#'\n#\"\n//'\n/*\"*/conninfo = x\n", "x");
    conninfo_is("/***/conninfo = x /**/\n", "x");
    /* Within a word it is no comment, so what follows is read. */
    refused("conninfo = x/*y\nuser = \"${env:EMAILING_T_NONE}\"\n", 2,
            "cannot expand ${env:EMAILING_T_NONE}: not in the environment");
}

/* What is not finished would silently swallow the rest of the file. */
static void
test_unfinished(void **state)
{
    (void) state;
    refused("conninfo = \"x\nuser = y\n", 1, "string without its end");
    refused("\nconninfo = 'x\nuser = y\n", 2, "string without its end");
    refused("user = y\"\nlog_permits = yes\n", 1, "string without its end");
    refused("user = y\n\"", 2, "string without its end");
    refused("user = 'y\\'\n", 1, "string without its end");
    refused("user = \"y\\\"\n", 1, "string without its end");
    refused("user = \"y\\", 1, "string without its end");
    refused("user = y\n/* x\nlog_permits = yes\n", 2,
            "comment without its end");
    refused("user = y\n/*/\n", 2, "comment without its end");
    /* And none of them harms the next file. */
    conninfo_is("conninfo = x", "x");
    refused("user = \"\\9\"", 1, "bad escape sequence '\\9'");
    refused("user = \"\\777\"", 1, "invalid octal number '\\777'");
    conninfo_is("conninfo = x", "x");
}

static void
test_nul(void **state)
{
    static const char text[] = "user = x\nlog_level\0 = debug\n";

    (void) state;
    write_file(path, text, sizeof(text) - 1);
    assert_null(conf_load(CONF_POLICYD, path, error, sizeof(error)));
    assert_non_null(strstr(error, ": NUL byte"));
    refused("user = \"a\\0b\"\n", 1, "NUL byte in a string");
    refused("user = \"a\\x00b\"\n", 1, "NUL byte in a string");
    refused("user = \"a\\x0\"\n", 1, "NUL byte in a string");
    refused("\nuser = \"\\000\"\n", 2, "NUL byte in a string");
    conninfo_is("conninfo = \"\\x41\\101\\x\"\n", "AAx");
    conninfo_is("conninfo = '\\0'\n", "\\0");
}

static void
test_references(void **state)
{
    char text[512];

    (void) state;
    conninfo_is("conninfo = ${env:EMAILING_T}\n", "va\"l'u #e\\n");
    conninfo_is("conninfo = \"${env:EMAILING_T}\"\n", "va\"l'u #e\\n");
    conninfo_is("conninfo = \"a ${env:EMAILING_T}b${env:EMAILING_U}c\"\n",
                "a va\"l'u #e\\nbUc");
    conninfo_is("conninfo = \"${env:EMAILING_U}${env:EMAILING_U}\"\n", "UU");
    conninfo_is("conninfo = \"${env:EMAILING_EMPTY}\"\n", "");
    conninfo_is("conninfo = '${env:EMAILING_T}'\n", "${env:EMAILING_T}");
    conninfo_is("conninfo = \"\\${env:EMAILING_T}\"\n", "${env:EMAILING_T}");
    conninfo_is("conninfo = \"$x $$ {y}\"\n", "$x $$ {y}");
    conninfo_is("conninfo = x # ${env:EMAILING_T_NONE} ${\n", "x");
    conninfo_is("conninfo = x /* ${nonsense} */\n", "x");
    snprintf(text, sizeof(text), "conninfo = \"x ${file:%s} y\"\n",
             secret_path);
    write_file(secret_path, "p w\"d\n", 6);
    conninfo_is(text, "x p w\"d y");
    write_file(secret_path, "p\n\n", 3);
    conninfo_is(text, "x p\n y");
    write_file(secret_path, "", 0);
    conninfo_is(text, "x  y");
    write_file(secret_path, "${env:EMAILING_T}", 17);
    conninfo_is(text, "x ${env:EMAILING_T} y");
}

static void
test_bad_references(void **state)
{
    char text[512], want[512], *huge;

    (void) state;
    refused("\nuser = \"${EMAILING_T}\"\n", 2,
            "unknown reference ${EMAILING_T}: use ${env:NAME} or "
            "${file:/path}");
    refused("user = ${HOME}\n", 1,
            "unknown reference ${HOME}: use ${env:NAME} or ${file:/path}");
    refused("user = \"${}\"\n", 1,
            "unknown reference ${}: use ${env:NAME} or ${file:/path}");
    refused("user = \"${env:EMAILING_T_NONE:-x}\"\n", 1,
            "cannot expand ${env:EMAILING_T_NONE:-x}: not in the "
            "environment");
    refused("user = \"${env:EMAILING_T\n}\"\n", 1,
            "unfinished ${}: no '}' on this line");
    refused("user = x${env:EMAILING_U}\n", 1,
            "cannot expand ${env:EMAILING_U}: put the whole value in double "
            "quotes");
    refused("user = ${env:EMAILING_U}x\n", 1, "no such option 'x'");
    refused("user = \"${file:/a=b}\"\n", 1,
            "cannot expand ${file:/a=b}: '=' in a name");
    refused("user = \"${file:x}\"\n", 1,
            "cannot read ${file:x}: not an absolute path");
    snprintf(text, sizeof(text), "user = \"${file:%s/none}\"\n", folder);
    snprintf(want, sizeof(want), "cannot read ${file:%s/none}: %s", folder,
             "No such file or directory");
    refused(text, 1, want);
    snprintf(text, sizeof(text), "user = \"${file:%s}\"\n", folder);
    snprintf(want, sizeof(want), "cannot read ${file:%s}: not a regular file",
             folder);
    refused(text, 1, want);
    snprintf(text, sizeof(text), "user = \"${file:%s}\"\n", secret_path);
    write_file(secret_path, "a\0b", 3);
    snprintf(want, sizeof(want), "cannot read ${file:%s}: NUL byte",
             secret_path);
    refused(text, 1, want);
    huge = calloc(1, 65537);
    assert_non_null(huge);
    memset(huge, 'x', 65537);
    write_file(secret_path, huge, 65537);
    snprintf(want, sizeof(want), "cannot read ${file:%s}: File too large",
             secret_path);
    refused(text, 1, want);
    free(huge);
}

/* Nothing stays in the environment, where children would get it. */
static void
test_environment(void **state)
{
    struct conf *conf;
    char text[512], **at;
    size_t i;

    (void) state;
    write_file(secret_path, "hidden\n", 7);
    snprintf(text, sizeof(text),
             "conninfo = \"${file:%s}${env:EMAILING_T}${file:%s}\"\n",
             secret_path, secret_path);
    for (i = 0; i < 3; i++) {
        conf = load(text);
        assert_string_equal(conf->conninfo, "hiddenva\"l'u #e\\nhidden");
        conf_free(&conf);
    }
    refused("conninfo = \"${env:EMAILING_T}\"\nnonsense = 1\n", 2,
            "no such option 'nonsense'");
    for (at = environ; *at != NULL; at++) {
        assert_int_not_equal(strncmp(*at, "env:", 4), 0);
        assert_int_not_equal(strncmp(*at, "file:", 5), 0);
        assert_null(strstr(*at, "hidden"));
    }
    assert_string_equal(getenv("EMAILING_T"), "va\"l'u #e\\n");
}

static void
test_no_file(void **state)
{
    char small[8];

    (void) state;
    unlink(path);
    assert_null(conf_load(CONF_POLICYD, path, error, sizeof(error)));
    assert_non_null(strstr(error, ": No such file or directory"));
    assert_int_equal(strncmp(error, path, strlen(path)), 0);
    assert_null(conf_load(CONF_POLICYD, folder, error, sizeof(error)));
    assert_non_null(strstr(error, ": not a regular file"));
    /* A small buffer cuts the text. */
    assert_null(conf_load(CONF_POLICYD, path, small, sizeof(small)));
    assert_int_equal(strlen(small), sizeof(small) - 1);
    assert_null(conf_load(CONF_POLICYD, path, small, 0));
}

static void
test_reload(void **state)
{
    struct conf *running = load("user = a\ncache_ttl = 5\n"
                                "recipient_delimiter = \"+\"\n"
                                "null_sender = permit\n");
    struct conf *fresh = load("user = b\ncache_ttl = 6\n"
                              "hash_threads = 9\nsocket_mode = 0600\n"
                              "conninfo = 'dbname=new'\nscram = yes\n"
                              "cache_bytes = 0\nlog_level = error\n");
    char *list = conf_reload(running, fresh);

    (void) state;
    assert_non_null(list);
    assert_string_equal(list, "socket_mode, user, hash_threads");
    free(list);
    conf_free(&fresh);
    assert_string_equal(running->user, "a");
    assert_int_equal(running->hash_threads, 2);
    assert_int_equal(running->socket_mode_bits, 0660);
    assert_int_equal(running->cache_ttl, 6);
    assert_string_equal(running->recipient_delimiter, "");
    assert_string_equal(running->conninfo, "dbname=new");
    assert_false(running->permit_null_sender);
    assert_true(running->scram);
    assert_true(running->cache_bytes == 0);
    assert_int_equal(running->log_level, LOG_LEVEL_ERROR);
    fresh = load("user = a\ncache_ttl = 6\nconninfo = 'dbname=new'\n"
                 "scram = yes\ncache_bytes = 0\nlog_level = error\n");
    list = conf_reload(running, fresh);
    assert_non_null(list);
    assert_string_equal(list, "");
    free(list);
    conf_free(&fresh);
    conf_free(&running);
}

struct tally {
    char text[8192];
    unsigned int count, reloadable;
};

static void
write_option(const struct conf_option_info *info, void *context)
{
    struct tally *tally = context;
    size_t used = strlen(tally->text);

    tally->count++;
    tally->reloadable += info->reloadable;
    snprintf(tally->text + used, sizeof(tally->text) - used, "%s = \"%s\"\n",
             info->name, info->default_value);
}

/* A file of nothing but defaults changes nothing, for either program. */
static void
test_each(void **state)
{
    static struct tally policyd, mailadmin;
    struct conf *plain, *written;
    char *list;

    (void) state;
    conf_each(CONF_POLICYD, write_option, &policyd);
    conf_each(CONF_MAILADMIN, write_option, &mailadmin);
    assert_int_equal(policyd.count, 29);
    assert_true(policyd.reloadable > 0 && policyd.reloadable < 29);
    assert_true(mailadmin.count > 0 && mailadmin.count < policyd.count);
    plain = load("");
    written = load(policyd.text);
    list = conf_reload(plain, written);
    assert_non_null(list);
    assert_string_equal(list, "");
    free(list);
    conf_free(&written);
    written = load_as(CONF_MAILADMIN, mailadmin.text);
    assert_non_null(written);
    conf_free(&written);
    conf_free(&plain);
}

static int
set_up(void **state)
{
    (void) state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/emailing.conf", folder);
    snprintf(secret_path, sizeof(secret_path), "%s/secret", folder);
    setenv("EMAILING_T", "va\"l'u #e\\n", 1);
    setenv("EMAILING_U", "U", 1);
    setenv("EMAILING_EMPTY", "", 1);
    return 0;
}

static int
tear_down(void **state)
{
    (void) state;
    unlink(path);
    unlink(secret_path);
    return rmdir(folder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_defaults),
    cmocka_unit_test(test_every_option),
    cmocka_unit_test(test_bad_values),
    cmocka_unit_test(test_listen),
    cmocka_unit_test(test_unknown_option),
    cmocka_unit_test(test_other_program),
    cmocka_unit_test(test_lines),
    cmocka_unit_test(test_comments),
    cmocka_unit_test(test_unfinished),
    cmocka_unit_test(test_nul),
    cmocka_unit_test(test_references),
    cmocka_unit_test(test_bad_references),
    cmocka_unit_test(test_environment),
    cmocka_unit_test(test_no_file),
    cmocka_unit_test(test_reload),
    cmocka_unit_test(test_each),
};

UNIT_MAIN_WITH(tests, set_up, tear_down)
