/* Preloaded into a process, ends it inside one of its writes to the files of a folder.
 *
 * RTS_FOLDER   the folder, absolute
 * RTS_KILL_AT  the call that is the last, counted from 1: of it, a part is written. 0: none
 * RTS_CALLS    a file that gets a byte for each call
 *
 * Calls are write, fsync, ftruncate and rename: all by which a file of a run changes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void*, size_t);

static int is_inside(const char* path) {
  const char* folder = getenv("RTS_FOLDER");
  return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_file_inside(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return is_inside(path);
}

/* Whether this call is the last. */
static int counts(void) {
  static int calls, log = -1;
  if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
  if (log < 0 && getenv("RTS_CALLS"))
    log = open(getenv("RTS_CALLS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  calls++;
  if (log >= 0 && real_write(log, ".", 1) != 1) abort();
  const char* at = getenv("RTS_KILL_AT");
  return at && calls == atoi(at);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

ssize_t write(int fd, const void* data, size_t size) {
  if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
  if (is_file_inside(fd) && counts()) {
    /* of a long line a part that depends on the call, of a short one a byte, or nothing */
    size_t part = size * (size_t)(atoi(getenv("RTS_KILL_AT")) % 7) / 7;
    if (part && real_write(fd, data, part) < 0) abort();
    die();
  }
  return real_write(fd, data, size);
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fsync");
  if (is_file_inside(fd) && counts()) die();
  return real(fd);
}

int ftruncate64(int fd, off64_t size) {
  static int (*real)(int, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "ftruncate64");
  if (is_file_inside(fd) && counts()) die();
  return real(fd, size);
}

int rename(const char* from, const char* to) {
  static int (*real)(const char*, const char*);
  if (!real) real = dlsym(RTLD_NEXT, "rename");
  if (is_inside(to) && counts()) die();
  return real(from, to);
}
