/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/textfile.h"

#include "lib/secret.h"

#include "mailadmin/faults.h"
#include "mailadmin/input.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 65536 };

/* Room for a chunk and a NUL; what is left behind is wiped. */
static bool
make_room(struct textfile *file)
{
    size_t room = file->room == 0 ? CHUNK + 1 : 2 * file->room;
    char *text;

    if (file->room > file->len + CHUNK)
        return true;
    text = malloc(room);
    if (text == NULL)
        return false;
    if (file->text != NULL) {
        memcpy(text, file->text, file->len);
        secret_wipe(file->text, file->len);
        free(file->text);
    }
    file->text = text;
    file->room = room;
    return true;
}

/* Counts the lines that came with the last n bytes, and refuses one that has
 * no end, before more of it is read. */
static bool
lines_end(struct textfile *file, size_t n)
{
    char *newline;
    size_t from = file->len - n;

    while ((newline = memchr(file->text + from, '\n', file->len - from))
           != NULL) {
        from = (size_t) (newline - file->text) + 1;
        if (from - 1 - file->at > TEXTFILE_LINE_MAX)
            return false;
        file->at = from;
        file->line++;
    }
    return file->len - file->at <= TEXTFILE_LINE_MAX;
}

static enum status
read_all(struct session *session, int fd, struct textfile *file)
{
    ssize_t n;

    do {
        if (!make_room(file))
            return session_say(session, STATUS_SYSTEM, "out of memory");
        n = read(fd, file->text + file->len, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return session_say(session, STATUS_SYSTEM, "%s: %s", file->name,
                               strerror(errno));
        file->len += (size_t) n;
        if (!lines_end(file, (size_t) n))
            return session_say(session, STATUS_DATA,
                               "%s:%lu: line over %d bytes", file->name,
                               file->line + 1, TEXTFILE_LINE_MAX);
        if (file->len > TEXTFILE_MAX)
            return session_say(session, STATUS_DATA,
                               "%s: file over %lu MiB", file->name,
                               TEXTFILE_MAX >> 20);
    } while (n != 0);
    file->text[file->len] = '\0';
    file->at = 0;
    file->line = 0;
    return STATUS_OK;
}

enum status
textfile_read(struct session *session, const char *path,
              struct textfile *file_r)
{
    bool standard = strcmp(path, "-") == 0;
    enum status status;
    int fd = STDIN_FILENO;

    memset(file_r, 0, sizeof(*file_r));
    file_r->name = standard ? "standard input" : path;
    if (standard && session->lines)
        return session_say(session, STATUS_USAGE,
                           "standard input has the commands; name a file");
    if (!standard && (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return session_say(session, STATUS_SYSTEM, "%s: %s", path,
                           strerror(errno));
    status = read_all(session, fd, file_r);
    if (!standard)
        close(fd);
    if (status != STATUS_OK)
        textfile_free(file_r);
    return status;
}

void
textfile_free(struct textfile *file)
{
    if (file->text != NULL)
        secret_wipe(file->text, file->len);
    free(file->text);
    memset(file, 0, sizeof(*file));
}

static int
hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Puts in place of each \xNN the byte that it means. */
static bool
unescape(char *word)
{
    char *to = word;
    int byte;

    while (*word != '\0') {
        if (*word != '\\') {
            *to++ = *word++;
            continue;
        }
        if (word[1] != 'x' || hex(word[2]) < 0 || hex(word[3]) < 0)
            return false;
        byte = hex(word[2]) * 16 + hex(word[3]);
        if (byte == 0)
            return false;
        *to++ = (char) byte;
        word += 4;
    }
    *to = '\0';
    return true;
}

/* Splits a line; NULL, or what is wrong with it. */
static const char *
read_words(char *line, size_t len, char **words, size_t *count_r)
{
    size_t i;

    *count_r = 0;
    if (len > TEXTFILE_LINE_MAX)
        return "line too long";
    if (memchr(line, '\0', len) != NULL)
        return "a NUL byte";
    if (len > 0 && line[len - 1] == '\r')
        line[len - 1] = '\0';
    *count_r = grammar_split(line, words);
    for (i = 0; i < *count_r && i < GRAMMAR_WORDS; i++) {
        if (words[i][0] == '#') {
            *count_r = i;
            return NULL;
        }
        if (!unescape(words[i]))
            return "a \\ that begins no \\xNN";
    }
    return *count_r > GRAMMAR_WORDS ? "too many words" : NULL;
}

bool
textfile_next(struct textfile *file, struct faults *faults,
              char *words_r[GRAMMAR_WORDS], size_t *count_r)
{
    while (file->at < file->len) {
        char *line = file->text + file->at;
        char *newline = memchr(line, '\n', file->len - file->at);
        size_t len = newline != NULL ? (size_t) (newline - line)
                                     : file->len - file->at;
        const char *error;

        line[len] = '\0';
        file->at += len + 1;
        file->line++;
        error = read_words(line, len, words_r, count_r);
        if (error != NULL)
            faults_add(faults, file->line, "%s", error);
        else if (*count_r > 0)
            return true;
    }
    return false;
}

void
textfile_write(FILE *out, const char *word)
{
    char piece[256];

    if (*word == '#')
        fprintf(out, "\\x%02x", *word++);
    while (*word != '\0') {
        size_t len = strcspn(word, " \\");

        /* Cut between characters of UTF-8, which are four bytes at most. */
        if (len >= sizeof(piece))
            for (len = sizeof(piece) - 1;
                 len > sizeof(piece) - 4 && (word[len] & 0xc0) == 0x80; len--)
                ;
        memcpy(piece, word, len);
        piece[len] = '\0';
        output_text(out, piece);
        word += len;
        if (*word == ' ' || *word == '\\')
            fprintf(out, "\\x%02x", *word++);
    }
}
