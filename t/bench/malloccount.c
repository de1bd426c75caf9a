/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a program: counts its calls of malloc and its kin in a shared
 * page, the file that MALLOC_COUNT names, as one native 64-bit number that
 * anyone may read while the program runs.
 */
#include "config.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own names of what is replaced here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *old, size_t size);

static uint64_t before; /* until there is a page */
static uint64_t *counter = &before;

static void
count_one(void)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

void *
malloc(size_t size)
{
    count_one();
    return __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    count_one();
    return __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
    count_one();
    return __libc_realloc(old, size);
}

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("MALLOC_COUNT");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    void *page;

    if (fd < 0 || ftruncate(fd, sizeof(*counter)) != 0)
        return;
    page = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED,
                fd, 0);
    close(fd);
    if (page != MAP_FAILED)
        counter = page;
}
