/* A disk that fails on demand: loaded before libc, it lets chosen calls on files of one folder fail.
 *
 * Python, Rust and C++ libraries all write through these symbols. Calls on pipes, events and other files pass.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FSYNC, WRITE, RENAME };

static char folder[PATH_MAX];
static int plan_call = -1, plan_error;
static long plan_first, plan_last;
static atomic_long seen, failed;

/* Let the first-th to last-th `call` on files under `where` fail with `error`, counted from now over all threads. */
void shim_plan(const char *where, int call, int error, long first, long last) {
    snprintf(folder, sizeof folder, "%s/", where);
    plan_error = error, plan_first = first, plan_last = last;
    seen = failed = 0;
    plan_call = call;
}

long shim_failed(void) { return failed; }

static int fails(int call, const char *path) {
    if (call != plan_call || strncmp(path, folder, strlen(folder))) return 0;
    long number = ++seen;
    if (number < plan_first || number > plan_last) return 0;
    failed++;
    errno = plan_error;
    return 1;
}

static int fails_fd(int call, int fd) {
    if (call != plan_call) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define NEXT(name, ...) (((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__))
#define FAIL_FD(call, fd) if (fails_fd(call, fd)) return -1
#define FAIL(call, path) if (fails(call, path)) return -1

int fsync(int fd) { FAIL_FD(FSYNC, fd); return NEXT(fsync, fd); }
int fdatasync(int fd) { FAIL_FD(FSYNC, fd); return NEXT(fdatasync, fd); }
ssize_t write(int fd, const void *data, size_t n) { FAIL_FD(WRITE, fd); return NEXT(write, fd, data, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { FAIL_FD(WRITE, fd); return NEXT(writev, fd, v, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { FAIL_FD(WRITE, fd); return NEXT(pwrite, fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    FAIL_FD(WRITE, fd);
    return NEXT(pwrite64, fd, data, n, at);
}
int rename(const char *from, const char *to) { FAIL(RENAME, to); return NEXT(rename, from, to); }
int renameat(int a, const char *from, int b, const char *to) { FAIL(RENAME, to); return NEXT(renameat, a, from, b, to); }
int renameat2(int a, const char *from, int b, const char *to, unsigned int flags) {
    FAIL(RENAME, to);
    return NEXT(renameat2, a, from, b, to, flags);
}
int link(const char *from, const char *to) { FAIL(RENAME, to); return NEXT(link, from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    FAIL(RENAME, to);
    return NEXT(linkat, a, from, b, to, flags);
}
