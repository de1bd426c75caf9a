/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program: its allocations fail, its reads and writes are cut
 * short or interrupted, now and then. From the environment:
 *
 *   FAULT_EVERY  one call in so many fails (0: none)
 *   FAULT_AFTER  not before so many calls (the start of the program)
 *   FAULT_SEED   another order
 *   FAULT_KIND   alloc, io, or both
 *
 * Only what the program itself allocates fails; what its libraries do when
 * memory is out (libuv aborts) is theirs. Reads and writes are cut for all.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* glibc's own, behind the names that are taken here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static uintptr_t program_begin, program_end;
static unsigned long every, after, seed;
static bool fail_alloc, cut_io;
static atomic_ulong calls;

static unsigned long
number(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : 0;
}

/* The program comes first; that is all there is to look at. */
static int
find_program(struct dl_phdr_info *info, size_t size, void *context)
{
    int i;

    (void) size;
    (void) context;
    for (i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

        if (info->dlpi_phdr[i].p_type != PT_LOAD)
            continue;
        if (program_begin == 0)
            program_begin = begin;
        program_end = begin + info->dlpi_phdr[i].p_memsz;
    }
    return 1;
}

__attribute__((constructor)) static void
start(void)
{
    const char *kind = getenv("FAULT_KIND");

    dl_iterate_phdr(find_program, NULL);
    after = number("FAULT_AFTER");
    seed = number("FAULT_SEED");
    fail_alloc = kind == NULL || strcmp(kind, "io") != 0;
    cut_io = kind == NULL || strcmp(kind, "alloc") != 0;
    every = number("FAULT_EVERY");
}

/* Whether it is this call's turn; well mixed, so that no loop is in step. */
static bool
turn(void)
{
    uint64_t n;

    if (every == 0)
        return false;
    n = atomic_fetch_add(&calls, 1);
    if (n < after)
        return false;
    n = (n + seed * 1000003) * 0x9e3779b97f4a7c15u;
    n ^= n >> 32;
    return n % every == 0;
}

static bool
refused(const void *caller)
{
    uintptr_t at = (uintptr_t) caller;

    if (!fail_alloc || at < program_begin || at >= program_end || !turn())
        return false;
    errno = ENOMEM;
    return true;
}

void *
malloc(size_t size)
{
    return refused(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return refused(__builtin_return_address(0)) ? NULL
                                                : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
    return refused(__builtin_return_address(0)) ? NULL
                                                : __libc_realloc(old, size);
}

char *
strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy;

    if (refused(__builtin_return_address(0)))
        return NULL;
    copy = __libc_malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

/* How much of len to do; 0 for an interrupted call. */
static size_t
cut(size_t len)
{
    static atomic_ulong turns;

    if (!cut_io || len < 2 || !turn())
        return len;
    return atomic_fetch_add(&turns, 1) % 4 == 0 ? 0 : 1 + len / 7;
}

#define NEXT(type, name, ...) \
    ((type (*) (__VA_ARGS__)) dlsym(RTLD_NEXT, name))

#define CUT_OR_INTERRUPT(len) \
    do { \
        (len) = cut(len); \
        if ((len) == 0) { \
            errno = EINTR; \
            return -1; \
        } \
    } while (0)

ssize_t
read(int fd, void *buf, size_t len)
{
    if (len > 0)
        CUT_OR_INTERRUPT(len);
    return NEXT(ssize_t, "read", int, void *, size_t)(fd, buf, len);
}

ssize_t
write(int fd, const void *buf, size_t len)
{
    if (len > 0)
        CUT_OR_INTERRUPT(len);
    return NEXT(ssize_t, "write", int, const void *, size_t)(fd, buf, len);
}

ssize_t
recv(int fd, void *buf, size_t len, int flags)
{
    if (len > 0)
        CUT_OR_INTERRUPT(len);
    return NEXT(ssize_t, "recv", int, void *, size_t, int)(fd, buf, len,
                                                           flags);
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
    if (len > 0)
        CUT_OR_INTERRUPT(len);
    return NEXT(ssize_t, "send", int, const void *, size_t,
                int)(fd, buf, len, flags);
}
