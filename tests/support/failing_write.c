// A preloaded library that makes one file operation of a program fail or wait, so that a test can put a full disk, a dying one, a
// kill or whatever it does itself at any point of a save or a run:
//
//   FAIL_CALL=write FAIL_AT=3 FAIL_PATH=/checkpoints/ LD_PRELOAD=libfailing_write.so temper train ...
//
//   FAIL_CALL   write (write, pwrite), fsync (fsync, fdatasync), rename, unlink (unlink, unlinkat, remove) or mkdir. Unset: nothing
//               ever fails. any: each of them.
//   FAIL_AT     N: the N-th such call, from 1. "N+": the N-th and every later one, as on a disk that stays full. Default 1.
//   FAIL_PATH   counts only calls on paths that contain this text. Default: every regular file and folder.
//   FAIL_TEXT   counts only writes of data that contain this text. Default: all.
//   FAIL_MODE   error: -1 and errno. short: half of the bytes are written, as when a signal comes. kill: _exit(137), a write
//               after half of its bytes, another call before it does anything. hold: the call waits to be told. trace: nothing
//               but the line. Default error.
//   FAIL_HOLD   the folder for mode hold: the process makes a file there, named by its number, and waits until the test moves it into
//               the folder of that name with ".released" behind it. Meanwhile each signal that the program handles, on whatever
//               thread, adds a byte to the file. Is the file gone otherwise, the test is over: _exit(137).
//   FAIL_ERRNO  ENOSPC, EIO, EDQUOT, EROFS, EACCES or a number. Default ENOSPC.
//
// Each failure is told on stderr in a line that begins with "failing_write:", so that a test can count up FAIL_AT until the
// line stays away. A program built with AddressSanitizer needs ASAN_OPTIONS=verify_asan_link_order=0.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum outcome { PASS, ERROR, SHORT, KILL };

static atomic_long calls_seen, signals_handled;
static void (*handlers[NSIG])(int);

static const char* setting(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value != NULL && value[0] != '\0' ? value : otherwise;
}

static int chosen_errno(void) {
  static const struct {
    const char* name;
    int number;
  } known[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}, {"EACCES", EACCES}};
  const char* name = setting("FAIL_ERRNO", "ENOSPC");
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (strcmp(name, known[i].name) == 0) return known[i].number;
  }
  return atoi(name);
}

static void hold(void) {
  const char* folder = setting("FAIL_HOLD", "");
  char path[4096], released[4096];
  snprintf(path, sizeof path, "%s/%ld", folder, (long)getpid());
  snprintf(released, sizeof released, "%s.released/%ld", folder, (long)getpid());
  long told = atomic_load(&signals_handled);
  const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const struct timespec a_millisecond = {0, 1000000};
  while (access(path, F_OK) == 0) {
    for (; told < atomic_load(&signals_handled); ++told) syscall(SYS_write, file, "s", 1);
    nanosleep(&a_millisecond, NULL);
  }
  close(file);
  if (access(released, F_OK) != 0) _exit(137);
}

// Decides what becomes of this call. `path` is what FAIL_PATH is looked for in, `data` what FAIL_TEXT is.
static enum outcome decide(const char* call, const char* path, const void* data, size_t bytes) {
  const char* wanted = setting("FAIL_CALL", "");
  if (strcmp(wanted, call) != 0 && strcmp(wanted, "any") != 0) return PASS;
  if (strstr(path, setting("FAIL_PATH", "")) == NULL) return PASS;
  const char* text = setting("FAIL_TEXT", "");
  if (text[0] != '\0' && (data == NULL || memmem(data, bytes, text, strlen(text)) == NULL)) return PASS;
  const long seen = atomic_fetch_add(&calls_seen, 1) + 1;
  char* rest = NULL;
  const long at = strtol(setting("FAIL_AT", "1"), &rest, 10);
  if (seen != at && !(*rest == '+' && seen > at)) return PASS;
  const char* mode = setting("FAIL_MODE", "error");
  char line[512];
  const int length = snprintf(line, sizeof line, "failing_write: %s %ld on %.300s: %s\n", call, seen, path, mode);
  if (length > 0) syscall(SYS_write, STDERR_FILENO, line, (size_t)length);
  if (strcmp(mode, "trace") == 0) return PASS;
  if (strcmp(mode, "short") == 0) return SHORT;
  if (strcmp(mode, "kill") == 0) return KILL;
  if (strcmp(mode, "hold") != 0) return ERROR;
  hold();
  return PASS;
}

static int fail(enum outcome outcome) {
  if (outcome == KILL) _exit(137);
  errno = chosen_errno();
  return -1;
}

// Terminals, pipes and sockets are not what these failures are about: their calls never count.
static enum outcome decide_for_descriptor(const char* call, int descriptor, const void* data, size_t bytes) {
  struct stat status;
  const int saved_errno = errno;
  enum outcome outcome = PASS;
  if (fstat(descriptor, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
    char link[64];
    char path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    outcome = decide(call, path, data, bytes);
  }
  errno = saved_errno;
  return outcome;
}

ssize_t write(int descriptor, const void* data, size_t bytes) {
  const enum outcome outcome = decide_for_descriptor("write", descriptor, data, bytes);
  if (outcome == ERROR) return fail(outcome);
  const ssize_t written = syscall(SYS_write, descriptor, data, outcome == PASS ? bytes : (bytes + 1) / 2);
  if (outcome == KILL) fail(outcome);
  return written;
}

ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t offset) {
  const enum outcome outcome = decide_for_descriptor("write", descriptor, data, bytes);
  if (outcome == ERROR) return fail(outcome);
  const ssize_t written = syscall(SYS_pwrite64, descriptor, data, outcome == PASS ? bytes : (bytes + 1) / 2, offset);
  if (outcome == KILL) fail(outcome);
  return written;
}

ssize_t pwrite64(int descriptor, const void* data, size_t bytes, off64_t offset) { return pwrite(descriptor, data, bytes, offset); }

int fsync(int descriptor) {
  const enum outcome outcome = decide_for_descriptor("fsync", descriptor, NULL, 0);
  return outcome == PASS ? (int)syscall(SYS_fsync, descriptor) : fail(outcome);
}

int fdatasync(int descriptor) {
  const enum outcome outcome = decide_for_descriptor("fsync", descriptor, NULL, 0);
  return outcome == PASS ? (int)syscall(SYS_fdatasync, descriptor) : fail(outcome);
}

int rename(const char* from, const char* to) {
  char both[8192];
  snprintf(both, sizeof both, "%s -> %s", from, to);
  const enum outcome outcome = decide("rename", both, NULL, 0);
  if (outcome != PASS) return fail(outcome);
  int (*next)(const char*, const char*) = (int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename");
  return next(from, to);
}

int unlink(const char* path) {
  const enum outcome outcome = decide("unlink", path, NULL, 0);
  return outcome == PASS ? (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0) : fail(outcome);
}

int unlinkat(int folder, const char* path, int flags) {
  char whole[8192], link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t length = folder == AT_FDCWD || path[0] == '/' ? 0 : readlink(link, whole, 4096);
  if (length < 0) length = 0;
  snprintf(whole + length, sizeof whole - (size_t)length, "%s%s", length > 0 ? "/" : "", path);
  const enum outcome outcome = decide("unlink", whole, NULL, 0);
  return outcome == PASS ? (int)syscall(SYS_unlinkat, folder, path, flags) : fail(outcome);
}

int remove(const char* path) {
  struct stat status;
  return unlinkat(AT_FDCWD, path, lstat(path, &status) == 0 && S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}

int mkdir(const char* path, mode_t mode) {
  const enum outcome outcome = decide("mkdir", path, NULL, 0);
  if (outcome != PASS) return fail(outcome);
  int (*next)(const char*, mode_t) = (int (*)(const char*, mode_t))dlsym(RTLD_NEXT, "mkdir");
  return next(path, mode);
}

static void count_signal(int number) {
  handlers[number](number);
  atomic_fetch_add(&signals_handled, 1);
}

int sigaction(int number, const struct sigaction* action, struct sigaction* before) {
  struct sigaction counted;
  if (action != NULL && (action->sa_flags & SA_SIGINFO) == 0 && action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN &&
      action->sa_handler != count_signal && number > 0 && number < NSIG) {
    handlers[number] = action->sa_handler;
    counted = *action;
    counted.sa_handler = count_signal;
    action = &counted;
  }
  int (*next)(int, const struct sigaction*, struct sigaction*) =
      (int (*)(int, const struct sigaction*, struct sigaction*))dlsym(RTLD_NEXT, "sigaction");
  return next(number, action, before);
}
