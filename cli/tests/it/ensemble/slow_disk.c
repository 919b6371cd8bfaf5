/* A disk that is slow or hangs, put before a server with LD_PRELOAD. Writes and syncs of files in a
 * folder named "log" wait as long as the file SLOW_DISK_CONTROL says: so many milliseconds, or,
 * while it says "stuck", until it says something else. Each is a byte more in SLOW_DISK_HITS. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { LOOK_EVERY_US = 2000 };

static int hits_file(void) {
    const char *path = getenv("SLOW_DISK_HITS");
    return path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}

/* The file is there as soon as a process has this library, whatever that process writes. */
__attribute__((constructor)) static void loaded(void) {
    int file = hits_file();
    if (file >= 0)
        close(file);
}

static int is_of_log(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/log/") != NULL;
}

/* What the control file says; nothing where it cannot be read. */
static void read_control(char *text, size_t size) {
    const char *path = getenv("SLOW_DISK_CONTROL");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = file < 0 ? 0 : read(file, text, size - 1);
    text[length < 0 ? 0 : length] = 0;
    if (file >= 0)
        close(file);
}

static void wait_for_disk(int fd) {
    if (!is_of_log(fd))
        return;
    int file = hits_file();
    if (file >= 0) {
        if (write(file, ".", 1) != 1)
            abort();
        close(file);
    }
    char text[32];
    for (read_control(text, sizeof text); strncmp(text, "stuck", 5) == 0;
         read_control(text, sizeof text))
        usleep(LOOK_EVERY_US);
    usleep((useconds_t)atoi(text) * 1000);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    wait_for_disk(fd);
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}

int fdatasync(int fd) {
    wait_for_disk(fd);
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    wait_for_disk(fd);
    return (int)syscall(SYS_fsync, fd);
}
