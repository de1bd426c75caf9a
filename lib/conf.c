/* SPDX-License-Identifier: MIT */
/*
 * One table says all there is to say of an option; libconfuse reads, the table
 * checks and stores. ${...} is resolved by libconfuse's own expansion of
 * environment variables: what stands between the braces is looked for in the
 * file (outside comments), and its value put into the environment under that
 * very name while libconfuse reads. See lib/conf_expand.h.
 */
#include "config.h"

#include "lib/conf.h"
#include "lib/conf_check.h"
#include "lib/conf_expand.h"

#include <confuse.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOTH (CONF_POLICYD | CONF_MAILADMIN)

enum option_type { TYPE_TEXT, TYPE_BOOL, TYPE_COUNT, TYPE_SECONDS,
                   TYPE_CHOICE };

struct choice {
    const char *word;
    int value;
};

struct option {
    const char *name;
    const char *fallback; /* as it would be written in a file */
    enum option_type type;
    unsigned int programs;
    bool reloadable;
    size_t offset; /* in struct conf */
    double min, max; /* of numbers, in the unit of the file */
    const struct choice *choices;
};

static const struct choice unauthenticated_choices[] = {
    {"dunno", false}, {"reject", true}, {NULL, 0}};
static const struct choice null_sender_choices[] = {
    {"reject", false}, {"permit", true}, {NULL, 0}};
static const struct choice scheme_choices[] = {
    {"yescrypt", SECRET_YESCRYPT},
    {"scram-sha-256", SECRET_SCRAM_SHA_256},
    {NULL, 0}};
static const struct choice md5_choices[] = {{"upgrade", CONF_MD5_UPGRADE},
                                            {"verify", CONF_MD5_VERIFY},
                                            {"refuse", CONF_MD5_REFUSE},
                                            {NULL, 0}};
static const struct choice log_to_choices[] = {
    {"syslog", LOG_TO_SYSLOG}, {"stderr", LOG_TO_STDERR}, {NULL, 0}};
static const struct choice level_choices[] = {
    {"debug", LOG_LEVEL_DEBUG},
    {"info", LOG_LEVEL_INFO},
    {"warning", LOG_LEVEL_WARNING},
    {"error", LOG_LEVEL_ERROR},
    {NULL, 0}};

#define AT(field) offsetof(struct conf, field)
#define TEXT(name, fallback, programs, reload, field)                         \
    {name, fallback, TYPE_TEXT, programs, reload, AT(field), 0, 0, NULL}
#define YESNO(name, fallback, programs, reload, field)                        \
    {name, fallback, TYPE_BOOL, programs, reload, AT(field), 0, 0, NULL}
#define COUNT(name, fallback, programs, reload, field, min, max)              \
    {name, fallback, TYPE_COUNT, programs, reload, AT(field), min, max, NULL}
#define SECONDS(name, fallback, programs, reload, field, min, max)            \
    {name, fallback, TYPE_SECONDS, programs, reload, AT(field), min, max, NULL}
#define CHOICE(name, fallback, programs, reload, field, choices)              \
    {name, fallback, TYPE_CHOICE, programs, reload, AT(field), 0, 0, choices}

static const struct option options[] = {
    TEXT("conninfo", "", BOTH, true, conninfo),
    SECONDS("database_timeout", "2", BOTH, true, database_timeout_ms, 0.1, 60),
    COUNT("database_connections", "4", CONF_POLICYD, false,
          database_connections, 1, 64),
    TEXT("queue_directory", "/var/spool/postfix", CONF_POLICYD, false,
         queue_directory),
    TEXT("policy_listen", "unix:emailing/policy", CONF_POLICYD, false,
         policy_listen),
    TEXT("auth_listen", "unix:emailing/auth", CONF_POLICYD, false,
         auth_listen),
    TEXT("auth_clients", "postfix root", CONF_POLICYD, true, auth_clients),
    TEXT("socket_mode", "0660", CONF_POLICYD, false, socket_mode),
    TEXT("socket_group", "postfix", CONF_POLICYD, false, socket_group),
    TEXT("user", "emailing", CONF_POLICYD, false, user),
    CHOICE("unauthenticated", "dunno", BOTH, true, reject_unauthenticated,
           unauthenticated_choices),
    CHOICE("null_sender", "reject", BOTH, true, permit_null_sender,
           null_sender_choices),
    TEXT("recipient_delimiter", "", BOTH, true, recipient_delimiter),
    YESNO("enforce", "yes", CONF_POLICYD, true, enforce),
    YESNO("record_usage", "yes", CONF_POLICYD, true, record_usage),
    COUNT("cache_bytes", "268435456", CONF_POLICYD, true, cache_bytes, 0,
          1099511627776.0),
    COUNT("cache_ttl", "60", CONF_POLICYD, true, cache_ttl, 1, 86400),
    COUNT("max_stale", "300", CONF_POLICYD, true, max_stale, 0, 604800),
    YESNO("preload", "no", CONF_POLICYD, false, preload),
    COUNT("hash_threads", "2", CONF_POLICYD, false, hash_threads, 1, 64),
    CHOICE("password_scheme", "yescrypt", BOTH, true, secret_policy.scheme,
           scheme_choices),
    YESNO("scram", "no", CONF_POLICYD, true, scram),
    COUNT("scram_iterations", "16384", BOTH, true, secret_policy.iterations,
          SECRET_ITERATIONS_MIN, SECRET_ITERATIONS_MAX),
    CHOICE("legacy_md5", "upgrade", CONF_POLICYD, true, legacy_md5,
           md5_choices),
    TEXT("status_listen", "", CONF_POLICYD, false, status_listen),
    CHOICE("log_to", "syslog", CONF_POLICYD, false, log_to, log_to_choices),
    CHOICE("log_level", "info", CONF_POLICYD, true, log_level, level_choices),
    YESNO("log_permits", "no", CONF_POLICYD, true, log_permits),
    YESNO("refusal_reference", "no", CONF_POLICYD, true, refusal_reference),
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

/* libconfuse reports through a callback without a context, and names a text
 * that it reads from memory "[buf]". */
static const char *report_path;
static char *report;
static size_t report_size;

static void on_error(cfg_t *cfg, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void
on_error(cfg_t *cfg, const char *format, va_list args)
{
    int used;

    if (report[0] != '\0')
        return; /* the first one says it */
    used = snprintf(report, report_size, "%s:%d: ", report_path,
                    cfg ? cfg->line : 0);
    if (used > 0 && (size_t) used < report_size)
        vsnprintf(report + used, report_size - (size_t) used, format, args);
}

static int
refuse(cfg_t *cfg, const struct option *option, const char *what)
{
    cfg_error(cfg, "%s: %s", option->name, what);
    return -1;
}

static const struct option *
find_option(const char *name)
{
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

static int
parse_number(cfg_t *cfg, const struct option *option, const char *text,
             double *number_r)
{
    char *rest, what[96];

    errno = 0;
    *number_r = strtod(text, &rest);
    if (text[0] == '\0' || *rest != '\0' || errno != 0
        || strspn(text, "0123456789.") != strlen(text)
        || (option->type == TYPE_COUNT && strchr(text, '.') != NULL))
        return refuse(cfg, option, option->type == TYPE_COUNT
                                       ? "not a whole number"
                                       : "not a number of seconds");
    if (*number_r < option->min || *number_r > option->max) {
        snprintf(what, sizeof(what), "out of range (%.15g to %.15g)",
                 option->min, option->max);
        return refuse(cfg, option, what);
    }
    return 0;
}

static int
parse_choice(cfg_t *cfg, const struct option *option, const char *text,
             int *value_r)
{
    char what[128] = "must be one of:";
    const struct choice *choice;

    for (choice = option->choices; choice->word != NULL; choice++) {
        if (strcmp(choice->word, text) == 0) {
            *value_r = choice->value;
            return 0;
        }
        strncat(what, " ", sizeof(what) - strlen(what) - 1);
        strncat(what, choice->word, sizeof(what) - strlen(what) - 1);
    }
    return refuse(cfg, option, what);
}

static int
parse_bool(cfg_t *cfg, const struct option *option, const char *text,
           bool *value_r)
{
    int value = cfg_parse_boolean(text);

    if (value < 0)
        return refuse(cfg, option, "must be yes or no");
    *value_r = value == 1;
    return 0;
}

static int
store_text(struct conf *conf, const struct option *option, const char *text)
{
    char **field = (char **) ((char *) conf + option->offset);
    char *copy = strdup(text);

    if (copy == NULL)
        return -1;
    if (*field != NULL) {
        secret_wipe(*field, strlen(*field));
        free(*field);
    }
    *field = copy;
    return 0;
}

/* Checks the text of an option and stores it; reports what is wrong. */
static int
store(cfg_t *cfg, struct conf *conf, const struct option *option,
      const char *text)
{
    void *field = (char *) conf + option->offset;
    double number;
    int value;

    switch (option->type) {
    case TYPE_TEXT:
        return store_text(conf, option, text);
    case TYPE_BOOL:
        return parse_bool(cfg, option, text, field);
    case TYPE_COUNT:
        if (parse_number(cfg, option, text, &number) != 0)
            return -1;
        if (option->offset == AT(cache_bytes))
            *(uint64_t *) field = (uint64_t) number;
        else
            *(unsigned int *) field = (unsigned int) number;
        return 0;
    case TYPE_SECONDS:
        if (parse_number(cfg, option, text, &number) != 0)
            return -1;
        *(unsigned int *) field = (unsigned int) (number * 1000 + 0.5);
        return 0;
    case TYPE_CHOICE:
        if (parse_choice(cfg, option, text, &value) != 0)
            return -1;
        if (option->choices == unauthenticated_choices
            || option->choices == null_sender_choices)
            *(bool *) field = value != 0;
        else
            *(int *) field = value;
        return 0;
    }
    return -1;
}

/* What no single range can say. */
static int
check_special(cfg_t *cfg, struct conf *conf, const struct option *option,
              const char *text)
{
    const char *error = NULL;

    if (option->offset == AT(socket_mode))
        error = conf_check_mode(text, &conf->socket_mode_bits);
    else if (option->offset == AT(policy_listen))
        error = conf_check_listen(text, false);
    else if (option->offset == AT(auth_listen))
        error = conf_check_listen(text, true);
    else if (option->offset == AT(status_listen) && text[0] != '\0')
        error = conf_check_endpoint(text);
    else if (option->offset == AT(queue_directory) && text[0] != '/')
        error = "must be an absolute path";
    return error == NULL ? 0 : refuse(cfg, option, error);
}

/* libconfuse's hook behind each value it has read. */
static struct conf *loading;

static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    const struct option *option = find_option(cfg_opt_name(opt));
    const char *text = cfg_opt_getstr(opt);

    if (option == NULL || text == NULL)
        return -1;
    if (store(cfg, loading, option, text) != 0)
        return -1;
    return check_special(cfg, loading, option, text);
}

/* An option of the other program is a likely mistake: say which file. */
static int
on_foreign(cfg_t *cfg, cfg_opt_t *opt)
{
    const struct option *option = find_option(cfg_opt_name(opt));

    return option == NULL
               ? -1
               : refuse(cfg, option,
                        option->programs == CONF_POLICYD
                            ? "belongs into emailing.conf"
                            : "belongs into mailadmin.conf");
}

static int
store_defaults(struct conf *conf)
{
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        if (store(NULL, conf, &options[i], options[i].fallback) != 0
            || check_special(NULL, conf, &options[i], options[i].fallback)
                   != 0)
            return -1;
    return 0;
}

/* A reader of all the options there are, whose errors go to that function. */
static cfg_t *
new_reader(cfg_errfunc_t on_its_error)
{
    cfg_opt_t opts[OPTIONS + 1];
    cfg_opt_t end = CFG_END();
    cfg_t *cfg;
    size_t i;

    for (i = 0; i < OPTIONS; i++)
        opts[i] = (cfg_opt_t) CFG_STR(options[i].name, NULL, CFGF_NONE);
    opts[OPTIONS] = end;
    cfg = cfg_init(opts, CFGF_NONE);
    if (cfg != NULL)
        cfg_set_error_function(cfg, on_its_error);
    return cfg;
}

static void
wipe_and_free(cfg_t *cfg)
{
    size_t i;

    for (i = 0; i < OPTIONS; i++) {
        char *value = cfg_getstr(cfg, options[i].name);

        if (value != NULL)
            secret_wipe(value, strlen(value));
    }
    cfg_free(cfg);
}

static int
parse(enum conf_program program, const char *text)
{
    cfg_t *cfg = new_reader(on_error);
    size_t i;
    int status;

    if (cfg == NULL)
        return -1;
    for (i = 0; i < OPTIONS; i++)
        cfg_set_validate_func(cfg, options[i].name,
                              options[i].programs & program ? on_value
                                                            : on_foreign);
    status = cfg_parse_buf(cfg, text) == CFG_SUCCESS ? 0 : -1;
    wipe_and_free(cfg);
    return status;
}

static void
ignore_error(cfg_t *cfg, const char *format, va_list args)
{
    (void) cfg;
    (void) format;
    (void) args;
}

/* Whether the file holds a password by itself, that others may read. Leaves
 * the references blank. */
static bool
shows_password(struct conf_expand *expand)
{
    const char *conninfo;
    bool shows;
    cfg_t *cfg;

    if (!conf_expand_exposed(expand))
        return false;
    cfg = new_reader(ignore_error);
    if (cfg == NULL)
        return true;
    conf_expand_blank(expand);
    cfg_parse_buf(cfg, conf_expand_text(expand));
    conninfo = cfg_getstr(cfg, "conninfo");
    shows = conninfo != NULL && conf_check_password(conninfo, CONF_EXPAND_BLANK);
    wipe_and_free(cfg);
    return shows;
}

struct conf *
conf_load(enum conf_program program, const char *path, char *error_r,
          size_t error_size)
{
    struct conf_expand *expand;
    struct conf *conf;
    bool ok = false;

    if (error_size == 0)
        return NULL;
    conf = calloc(1, sizeof(*conf));
    error_r[0] = '\0';
    report_path = path;
    report = error_r;
    report_size = error_size;
    if (conf == NULL || store_defaults(conf) != 0) {
        snprintf(error_r, error_size, "%s: out of memory", path);
        conf_free(&conf);
        return NULL;
    }
    expand = conf_expand_read(path, error_r, error_size);
    if (expand != NULL) {
        loading = conf;
        ok = parse(program, conf_expand_text(expand)) == 0;
        loading = NULL;
        if (ok && shows_password(expand)) {
            snprintf(error_r, error_size, "%s: holds a password and others may"
                     " read it: chmod o-r, or refer to it by ${file:/path}",
                     path);
            ok = false;
        }
        conf_expand_free(&expand);
        if (!ok && error_r[0] == '\0')
            snprintf(error_r, error_size, "%s: cannot be read", path);
    }
    if (!ok)
        conf_free(&conf);
    return conf;
}

void
conf_free(struct conf **conf)
{
    size_t i;

    if (*conf == NULL)
        return;
    for (i = 0; i < OPTIONS; i++) {
        char **field = (char **) ((char *) *conf + options[i].offset);

        if (options[i].type != TYPE_TEXT || *field == NULL)
            continue;
        secret_wipe(*field, strlen(*field));
        free(*field);
    }
    free(*conf);
    *conf = NULL;
}

/* Bytes of the field in struct conf. */
static size_t
field_size(const struct option *option)
{
    if (option->type == TYPE_TEXT)
        return sizeof(char *);
    if (option->offset == AT(cache_bytes))
        return sizeof(uint64_t);
    if (option->type == TYPE_BOOL
        || option->choices == unauthenticated_choices
        || option->choices == null_sender_choices)
        return sizeof(bool);
    return sizeof(int);
}

static bool
differs(const struct option *option, const void *a, const void *b)
{
    if (option->type == TYPE_TEXT)
        return strcmp(*(char *const *) a, *(char *const *) b) != 0;
    return memcmp(a, b, field_size(option)) != 0;
}

char *
conf_reload(struct conf *running, struct conf *fresh)
{
    char *list = calloc(OPTIONS, 32);
    size_t i;

    for (i = 0; list != NULL && i < OPTIONS; i++) {
        char *old = (char *) running + options[i].offset;
        char *new = (char *) fresh + options[i].offset;
        char kept[sizeof(uint64_t)];
        size_t size = field_size(&options[i]);

        if (!differs(&options[i], old, new))
            continue;
        if (options[i].reloadable) {
            memcpy(kept, old, size);
            memcpy(old, new, size);
            memcpy(new, kept, size);
        } else {
            if (list[0] != '\0')
                strcat(list, ", ");
            strcat(list, options[i].name);
        }
    }
    return list;
}

struct decide_options
conf_decide_options(const struct conf *conf)
{
    struct decide_options decide_options = {
        .reject_unauthenticated = conf->reject_unauthenticated,
        .permit_null_sender = conf->permit_null_sender,
        .recipient_delimiter = conf->recipient_delimiter,
        .observe = !conf->enforce,
    };

    return decide_options;
}

void
conf_each(enum conf_program program,
          void (*fn)(const struct conf_option_info *, void *), void *context)
{
    size_t i;

    for (i = 0; i < OPTIONS; i++) {
        struct conf_option_info info = {options[i].name, options[i].fallback,
                                        options[i].reloadable};

        if (options[i].programs & program)
            fn(&info, context);
    }
}
