/* SPDX-License-Identifier: MIT */
/*
 * mailadmin's standard input: lines, words, commands, passwords. Nothing is
 * run. What it would print holds no control byte.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "mailadmin/commands.h"
#include "mailadmin/grammar.h"
#include "mailadmin/input.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"

#include <sys/mman.h>
#include <unistd.h>

static void
check_output(const char *text)
{
    char *buf = NULL;
    size_t len = 0, i;
    FILE *file = open_memstream(&buf, &len);

    CHECK(file != NULL);
    output_text(file, text);
    CHECK(output_flush(file));
    fclose(file);
    for (i = 0; i < len; i++)
        CHECK((unsigned char) buf[i] >= 0x20 && buf[i] != 0x7f);
    free(buf);
}

/* Each argument is a word of the line, and a name that is taken is sound. */
static void
check_arguments(struct session *session, const struct arguments *arguments,
                char *const *words, size_t count)
{
    size_t i, w;

    for (i = 0; i < GRAMMAR_ARGUMENTS; i++) {
        const char *value = arguments->value[i];
        struct user_name name;
        struct addr address;
        struct domain domain;

        if (value == NULL)
            continue;
        for (w = 0; w < count && words[w] != value; w++)
            ;
        CHECK(w < count);
        if (session_name(session, value, &name))
            CHECK(is_printable(name.text, name.len));
        check_output(session->message);
        if (session_address(session, value, &address))
            CHECK(address.len == strlen(address.text));
        check_output(session->message);
        if (session_domain(session, value, &domain))
            CHECK(is_printable(domain.text, domain.len));
        check_output(session->message);
    }
    CHECK(arguments->rest_count <= count);
}

static void
check_line(struct session *session, char *line)
{
    char *words[GRAMMAR_WORDS];
    struct arguments arguments;
    const struct command *command;
    size_t count = grammar_split(line, words);

    CHECK(count <= GRAMMAR_WORDS + 1);
    if (count == 0 || count > GRAMMAR_WORDS)
        return;
    session->message[0] = '\0';
    command = commands_find(session, words, count, &arguments);
    if (command != NULL) {
        CHECK(arguments.command == command);
        check_arguments(session, &arguments, words, count);
    } else {
        CHECK(session->message[0] != '\0');
    }
    check_output(session->message);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session session = {.lines = true};
    struct input *input;
    enum input_result result;
    unsigned long lines = 0;
    char *line = NULL;
    size_t len = 0;
    int fd = memfd_create("line", MFD_CLOEXEC);

    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t) size);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    input = input_new(fd);
    CHECK(input != NULL && !input_is_terminal(input));
    while ((result = input_line(input, &line, &len)) != INPUT_END) {
        CHECK(result != INPUT_ERROR);
        CHECK(input_lines(input) == ++lines);
        CHECK(result != INPUT_LINE || strlen(line) == len);
        if (result != INPUT_LINE)
            continue;
        check_output(line);
        check_line(&session, line);
    }
    input_free(&input);
    close(fd);
    return 0;
}
