/* SPDX-License-Identifier: MIT */
/*
 * Files that export wrote, or did not. What is read without a fault is sound,
 * is written as a text that is read as the same, and is written the same
 * again; what is refused is refused in words. Any word can be written so that
 * it is read as it was.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "lib/addr.h"
#include "mailadmin/faults.h"
#include "mailadmin/output.h"
#include "mailadmin/plan.h"
#include "mailadmin/state_file.h"
#include "mailadmin/textfile.h"

/* A file of its own, with the room for one more byte that it has to have. */
static void
open_text(struct textfile *file, const void *text, size_t len)
{
    memset(file, 0, sizeof(*file));
    file->name = "input";
    file->text = malloc(len + 1);
    CHECK(file->text != NULL);
    if (len > 0)
        memcpy(file->text, text, len);
    file->len = len;
    file->room = len + 1;
}

/* Whether there was no fault. */
static bool
parse(const void *text, size_t len, struct state *state_r)
{
    struct faults faults = {0};
    struct textfile file;
    bool good;
    size_t i;

    memset(state_r, 0, sizeof(*state_r));
    open_text(&file, text, len);
    state_parse(&file, state_r, &faults);
    CHECK(file.at >= file.len);
    good = faults.count == 0;
    CHECK(faults.kept <= faults.count && faults.kept <= FAULTS_MAX);
    for (i = 0; i < faults.kept; i++)
        CHECK(faults.items[i].line > 0 && faults.items[i].text[0] != '\0');
    faults_free(&faults);
    textfile_free(&file);
    return good;
}

static char *
write_state(const struct state *state, size_t *len_r)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len_r);
    size_t i;

    CHECK(out != NULL);
    state_write(out, state);
    CHECK(output_flush(out));
    fclose(out);
    for (i = 0; i < *len_r; i++)
        CHECK(text[i] == '\n' || ((unsigned char) text[i] >= 0x20
                                  && text[i] != 0x7f));
    return text;
}

/* Its normal form, once and in order, and of what is there. */
static void
check_item(const struct state *state, const struct state_item *item)
{
    struct user_name name;
    struct addr address;
    struct domain domain;
    const char *error;
    size_t len = strlen(item->text), count;

    CHECK(item == state->items || state_compare(item - 1, item) < 0);
    CHECK(state_find(state, item->kind, item->text, item->user) == item);
    CHECK((item->user[0] != '\0') == (item->kind >= STATE_GRANT_ADDRESS));
    CHECK(item->until == 0 || item->ends);
    if (item->kind == STATE_USER)
        CHECK(addr_parse_name(item->text, len, &name, &error)
              && strcmp(name.text, item->text) == 0);
    else if (item->kind == STATE_ADDRESS || item->kind == STATE_GRANT_ADDRESS)
        CHECK(addr_parse_grantable(item->text, len, &address, &error)
              && strcmp(address.text, item->text) == 0);
    else
        CHECK(addr_parse_domain(item->text, len, &domain, &error)
              && strcmp(domain.text, item->text) == 0);
    CHECK(item->secret == NULL || (state->secrets && item->secret[0]));
    CHECK((item->old_secret != NULL) == (item->kind == STATE_USER
                                         && item->ends));
    if (item->kind >= STATE_GRANT_ADDRESS) {
        const struct state_item *own = state_grants(state, item->user,
                                                    &count);

        CHECK(item >= own && item < own + count);
        CHECK(state_find(state, STATE_USER, item->user, NULL) != NULL);
    }
}

static void
check_state(const struct state *state)
{
    struct state again, none = {.secrets = state->secrets};
    struct plan plan;
    size_t len, len_again, i;
    char *text = write_state(state, &len), *text_again;

    for (i = 0; i < state->count; i++)
        check_item(state, &state->items[i]);
    CHECK(parse(text, len, &again));
    CHECK(again.secrets == state->secrets && again.count == state->count);
    CHECK(plan_make(state, &again, &plan) && plan.count == 0);
    CHECK(plan_is_id(plan.id) && plan_same_wanted(&plan, plan.id)
          && memcmp(plan.id, plan.id + STATE_DIGEST + 1, STATE_DIGEST) == 0);
    plan_free(&plan);
    text_again = write_state(&again, &len_again);
    CHECK(len == len_again && memcmp(text, text_again, len) == 0);
    CHECK(plan_make(&none, state, &plan) && plan.count == state->count);
    plan_free(&plan);
    free(text);
    free(text_again);
    state_free(&again);
}

/* One word, whatever is in it. */
static void
check_word(const char *word)
{
    struct faults faults = {0};
    char *words[GRAMMAR_WORDS], *text = NULL;
    struct textfile file;
    size_t len = 0, count;
    FILE *out = open_memstream(&text, &len);

    CHECK(out != NULL);
    textfile_write(out, word);
    CHECK(output_flush(out));
    fclose(out);
    open_text(&file, text, len);
    if (len <= TEXTFILE_LINE_MAX) {
        CHECK(textfile_next(&file, &faults, words, &count) && count == 1);
        CHECK(strcmp(words[0], word) == 0);
    }
    CHECK(!textfile_next(&file, &faults, words, &count)
          || len > TEXTFILE_LINE_MAX);
    CHECK(faults.count == 0 || len > TEXTFILE_LINE_MAX);
    faults_free(&faults);
    textfile_free(&file);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size}, line;
    struct state state;

    if (parse(data, size, &state))
        check_state(&state);
    state_free(&state);
    while (fuzz_line(&input, &line)) {
        char *word = piece_copy(&line);

        if (word[0] != '\0')
            check_word(word);
        free(word);
    }
    return 0;
}
