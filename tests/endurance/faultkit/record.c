/* Preloaded into a process: writes down, in order, whatever it does to the files of one folder, and can make the disk
 * full or broken. Linux and glibc.
 *
 * FAULTKIT_UNDER   the folder; without it nothing is done
 * FAULTKIT_LOG     where the record goes; none is made without it
 * FAULTKIT_ROOM    bytes that can be written before the disk is full (ENOSPC)
 * FAULTKIT_SYNCS   flushes that succeed before the disk is broken (EIO)
 *
 * FAULTKIT_CLOCK   seconds that the clock is set back each time somebody looks at it
 *
 * ROOM and SYNCS hold for no file called `notes`; `faultkit_mend()` ends them.
 *
 * A record: operation (1 byte), inode (8), offset or size (8), length of the name (4), of the data (4), name, data.
 * O created or opened to be emptied, W written, T truncated, S flushed, R renamed (the data is the new name), U removed.
 * A write through a shared mapping is one W and one S when it is flushed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *under;
static int record_fd = -1;
static long long room = -1, syncs = -1, back = 0, looked = 0;
static struct { char *start; size_t size; off_t offset; int fd; } maps[64];

#define REAL(name, kind, ...) static kind (*real)(__VA_ARGS__); if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void) {
    const char *value = getenv("FAULTKIT_LOG");
    under = getenv("FAULTKIT_UNDER");
    if (under && value) record_fd = syscall(SYS_openat, AT_FDCWD, value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((value = getenv("FAULTKIT_ROOM"))) room = atoll(value);
    if ((value = getenv("FAULTKIT_SYNCS"))) syncs = atoll(value);
    if ((value = getenv("FAULTKIT_CLOCK"))) back = atoll(value);
}

static int is_ours(const char *name) {
    return under && !strncmp(name, under, strlen(under)) && !strstr(name, "-shm") && !strstr(name, " (deleted)");
}

/* The name behind a handle; 0 where it is none of ours. */
static int name_of(int fd, char *name) {
    char link[64];
    if (!under) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, name, PATH_MAX - 1);
    if (size <= 0) return 0;
    name[size] = 0;
    return is_ours(name);
}

static void put(const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t done = syscall(SYS_write, record_fd, at, size);
        if (done <= 0) abort();
        at += done;
        size -= done;
    }
}

static void note(char operation, int fd, uint64_t where, const char *name, const void *data, uint32_t size) {
    struct stat info = {0};
    uint32_t length = strlen(name);
    uint64_t inode;
    if (record_fd < 0) return;
    if (fd >= 0) syscall(SYS_fstat, fd, &info);
    inode = info.st_ino;
    put(&operation, 1);
    put(&inode, 8);
    put(&where, 8);
    put(&length, 4);
    put(&size, 4);
    put(name, length);
    put(data, size);
}

void faultkit_mend(void) { room = syncs = -1; }

static int is_notes(const char *name) {
    size_t size = strlen(name);
    return size > 6 && !strcmp(name + size - 6, "/notes");
}

/* Whether there is room for a write; takes it. */
static int fits(const char *name, size_t size) {
    if (room < 0 || is_notes(name)) return 1;
    if ((long long)size > room) {
        errno = ENOSPC;
        return 0;
    }
    room -= size;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
    char name[PATH_MAX];
    if (!name_of(fd, name)) return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (fits(name, size)) {
        int append = fcntl(fd, F_GETFL) & O_APPEND;
        off_t at = append ? -1 : lseek(fd, 0, SEEK_CUR);
        done = syscall(SYS_write, fd, data, size);
        if (append) at = lseek(fd, 0, SEEK_CUR) - done;
        if (done > 0) note('W', fd, at, name, data, done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t write_at(int fd, const void *data, size_t size, off_t at) {
    char name[PATH_MAX];
    if (!name_of(fd, name)) return syscall(SYS_pwrite64, fd, data, size, at);
    pthread_mutex_lock(&lock);
    ssize_t done = fits(name, size) ? syscall(SYS_pwrite64, fd, data, size, at) : -1;
    if (done > 0) note('W', fd, at, name, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return write_at(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return write_at(fd, data, size, at); }

static int cut(int fd, off_t size) {
    char name[PATH_MAX];
    if (!name_of(fd, name)) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    int code = syscall(SYS_ftruncate, fd, size);
    if (!code) note('T', fd, size, name, "", 0);
    pthread_mutex_unlock(&lock);
    return code;
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

static int flushed(int fd, long call) {
    char name[PATH_MAX];
    if (!name_of(fd, name)) return syscall(call, fd);
    pthread_mutex_lock(&lock);
    int code = -1;
    if (!syncs && !is_notes(name)) errno = EIO;
    else {
        if (syncs > 0) syncs--;
        code = syscall(call, fd);
        if (!code) note('S', fd, 0, name, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return code;
}
int fsync(int fd) { return flushed(fd, SYS_fsync); }
int fdatasync(int fd) { return flushed(fd, SYS_fdatasync); }

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    struct stat info;
    int there = !syscall(SYS_newfstatat, folder, path, &info, 0);
    pthread_mutex_lock(&lock);
    int fd = syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0 && ((!there && flags & O_CREAT) || flags & O_TRUNC) && name_of(fd, name)) note('O', fd, 0, name, "", 0);
    pthread_mutex_unlock(&lock);
    return fd;
}
#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

int rename(const char *from, const char *to) {
    REAL("rename", int, const char *, const char *);
    pthread_mutex_lock(&lock);
    int code = real(from, to);
    if (!code && is_ours(from)) note('R', -1, 0, from, to, strlen(to));
    pthread_mutex_unlock(&lock);
    return code;
}

int unlink(const char *path) {
    REAL("unlink", int, const char *);
    pthread_mutex_lock(&lock);
    int code = real(path);
    if (!code && is_ours(path)) note('U', -1, 0, path, "", 0);
    pthread_mutex_unlock(&lock);
    return code;
}

static void *mapped(void *start, size_t size, int protection, int flags, int fd, off_t offset) {
    char name[PATH_MAX];
    void *at = (void *)syscall(SYS_mmap, start, size, protection, flags, fd, offset);
    if (at == MAP_FAILED || fd < 0 || !(flags & MAP_SHARED) || !(protection & PROT_WRITE) || !name_of(fd, name)) return at;
    for (size_t k = 0; k < sizeof maps / sizeof *maps; k++)
        if (!maps[k].start) {
            maps[k].start = at;
            maps[k].size = size;
            maps[k].offset = offset;
            maps[k].fd = dup(fd);
            return at;
        }
    abort();
}
void *mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset) { return mapped(start, size, protection, flags, fd, offset); }
void *mmap64(void *start, size_t size, int protection, int flags, int fd, off64_t offset) { return mapped(start, size, protection, flags, fd, offset); }

int munmap(void *start, size_t size) {
    for (size_t k = 0; k < sizeof maps / sizeof *maps; k++)
        if (maps[k].start && maps[k].start == start) {
            close(maps[k].fd);
            maps[k].start = 0;
        }
    return syscall(SYS_munmap, start, size);
}

int msync(void *start, size_t size, int flags) {
    char name[PATH_MAX];
    int code = syscall(SYS_msync, start, size, flags);
    for (size_t k = 0; k < sizeof maps / sizeof *maps; k++)
        if (maps[k].start && (char *)start >= maps[k].start && (char *)start < maps[k].start + maps[k].size) {
            pthread_mutex_lock(&lock);
            if (!code && name_of(maps[k].fd, name)) {
                struct stat info;
                off_t at = maps[k].offset + ((char *)start - maps[k].start);
                syscall(SYS_fstat, maps[k].fd, &info);
                size_t end = at + (off_t)size > info.st_size ? (size_t)(info.st_size - at) : size;
                note('W', maps[k].fd, at, name, start, end);
                note('S', maps[k].fd, 0, name, "", 0);
            }
            pthread_mutex_unlock(&lock);
        }
    return code;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int code = syscall(SYS_clock_gettime, which, now);
    if (!code && which == CLOCK_REALTIME && back) now->tv_sec -= back * __atomic_add_fetch(&looked, 1, __ATOMIC_RELAXED);
    return code;
}
