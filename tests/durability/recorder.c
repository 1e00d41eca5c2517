// Writes down, in order, everything a process does to the files below one folder, and what it was told
// when. Loaded with LD_PRELOAD, so it sees what Python does and what SQLite does alike.
//
//	FREEHOLD_RECORD_ROOT=FOLDER FREEHOLD_RECORD_TO=FILE LD_PRELOAD=recorder.so python …
//
// A sync is written down and not done: what a power cut would leave is worked out from the record
// (disk.py), never asked of this machine's disk. One lock around each call and its line keeps the order.
//
// A line, little-endian: op 1 | fd 4 | offset 8 | length of path 4 | length of data 4 | path | data
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
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 65536 /* descriptors */
#define ROOM (1 << 20)

static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int out = -1;
static char root[PATH_MAX];
static size_t root_length;
static unsigned char seen[MOST];
static char room[ROOM];
static size_t held;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void pour(const void *data, size_t length) {
	const char *at = data;
	while (length > 0) {
		ssize_t written = REAL(write)(out, at, length);
		if (written < 0) {
			if (errno == EINTR)
				continue;
			_exit(97); // a record with a hole would prove nothing
		}
		at += written;
		length -= written;
	}
}

static void keep(const void *data, size_t length) {
	if (held + length > ROOM) {
		pour(room, held);
		held = 0;
	}
	if (length > ROOM) {
		pour(data, length);
		return;
	}
	memcpy(room + held, data, length);
	held += length;
}

static void tell(char op, int fd, int64_t offset, const char *path, const void *data, uint32_t length) {
	uint32_t path_length = path ? strlen(path) : 0;
	keep(&op, 1);
	keep(&(int32_t){fd}, 4);
	keep(&offset, 8);
	keep(&path_length, 4);
	keep(&length, 4);
	keep(path, path_length);
	keep(data, length);
}

__attribute__((constructor)) static void begin(void) {
	const char *folder = getenv("FREEHOLD_RECORD_ROOT"), *to = getenv("FREEHOLD_RECORD_TO");
	if (!folder || !to || !realpath(folder, root))
		return;
	root_length = strlen(root);
	out = REAL(open)(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsetenv("LD_PRELOAD"); // its children are not recorded
}

__attribute__((destructor)) static void end(void) {
	if (out >= 0)
		pour(room, held);
	held = 0;
}

// Whether `path` is below the folder; `whole` gets it in full.
static int ours(int folder, const char *path, char *whole) {
	if (out < 0 || !path)
		return 0;
	if (path[0] == '/') {
		if (snprintf(whole, PATH_MAX, "%s", path) >= PATH_MAX)
			return 0;
	} else {
		char base[PATH_MAX], link[64];
		if (folder == AT_FDCWD) {
			if (!getcwd(base, sizeof base))
				return 0;
		} else {
			snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
			ssize_t length = readlink(link, base, sizeof base - 1);
			if (length < 0)
				return 0;
			base[length] = 0;
		}
		if (snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
			return 0;
	}
	return strncmp(whole, root, root_length) == 0 && (whole[root_length] == '/' || !whole[root_length]);
}

static int is_seen(int fd) { return out >= 0 && fd >= 0 && fd < MOST && seen[fd]; }

// What a workload was told: `freehold_mark` is called when something counts as done for its caller.
void freehold_mark(const char *text, uint32_t length) {
	pthread_mutex_lock(&turn);
	if (out >= 0)
		tell('A', -1, 0, NULL, text, length);
	pthread_mutex_unlock(&turn);
}

static int opened(int folder, const char *path, int flags, int fd) {
	char whole[PATH_MAX];
	if (fd >= 0 && fd < MOST) {
		seen[fd] = ours(folder, path, whole);
		if (seen[fd])
			tell('O', fd, flags, whole, NULL, 0);
	}
	return fd;
}

#define MODE                                                                                             \
	mode_t mode = 0;                                                                                     \
	if (flags & (O_CREAT | __O_TMPFILE)) {                                                               \
		va_list more;                                                                                    \
		va_start(more, flags);                                                                           \
		mode = va_arg(more, mode_t);                                                                     \
		va_end(more);                                                                                    \
	}
#define ONCE(what)                                                                                       \
	pthread_mutex_lock(&turn);                                                                           \
	__typeof__(what) done = what;                                                                        \
	int error = errno;
#define OVER                                                                                             \
	pthread_mutex_unlock(&turn);                                                                         \
	errno = error;                                                                                       \
	return done;

int open(const char *path, int flags, ...) {
	MODE ONCE(opened(AT_FDCWD, path, flags, REAL(open)(path, flags, mode))) OVER
}
int open64(const char *path, int flags, ...) {
	MODE ONCE(opened(AT_FDCWD, path, flags, REAL(open64)(path, flags, mode))) OVER
}
int openat(int folder, const char *path, int flags, ...) {
	MODE ONCE(opened(folder, path, flags, REAL(openat)(folder, path, flags, mode))) OVER
}
int openat64(int folder, const char *path, int flags, ...) {
	MODE ONCE(opened(folder, path, flags, REAL(openat64)(folder, path, flags, mode))) OVER
}

int close(int fd) {
	ONCE(REAL(close)(fd))
	if (is_seen(fd)) {
		seen[fd] = 0;
		tell('C', fd, 0, NULL, NULL, 0);
	}
	OVER
}

ssize_t write(int fd, const void *data, size_t length) {
	if (!is_seen(fd))
		return REAL(write)(fd, data, length);
	ONCE(REAL(write)(fd, data, length))
	if (done > 0) // where it stands now is the end of what was written, appended or not
		tell('W', fd, lseek(fd, 0, SEEK_CUR) - done, NULL, data, done);
	OVER
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
	ONCE(REAL(pwrite)(fd, data, length, offset))
	if (done > 0 && is_seen(fd))
		tell('W', fd, offset, NULL, data, done);
	OVER
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
	ONCE(REAL(pwrite64)(fd, data, length, offset))
	if (done > 0 && is_seen(fd))
		tell('W', fd, offset, NULL, data, done);
	OVER
}

int ftruncate(int fd, off_t size) {
	ONCE(REAL(ftruncate)(fd, size))
	if (!done && is_seen(fd))
		tell('T', fd, size, NULL, NULL, 0);
	OVER
}
int ftruncate64(int fd, off64_t size) {
	ONCE(REAL(ftruncate64)(fd, size))
	if (!done && is_seen(fd))
		tell('T', fd, size, NULL, NULL, 0);
	OVER
}

int fsync(int fd) {
	if (!is_seen(fd))
		return REAL(fsync)(fd);
	ONCE(0)
	tell('S', fd, 0, NULL, NULL, 0);
	OVER
}
int fdatasync(int fd) {
	if (!is_seen(fd))
		return REAL(fdatasync)(fd);
	ONCE(0)
	tell('S', fd, 0, NULL, NULL, 0);
	OVER
}

void sync(void) { // everything
	if (out < 0) {
		REAL(sync)();
		return;
	}
	pthread_mutex_lock(&turn);
	tell('G', -1, 0, NULL, NULL, 0);
	pthread_mutex_unlock(&turn);
}

static int renamed(int from_folder, const char *from, int to_folder, const char *to, int done) {
	char a[PATH_MAX], b[PATH_MAX];
	if (!done && ours(from_folder, from, a) && ours(to_folder, to, b))
		tell('R', -1, 0, a, b, strlen(b));
	return done;
}
int rename(const char *from, const char *to) {
	ONCE(renamed(AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to))) OVER
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
	ONCE(renamed(from_folder, from, to_folder, to, REAL(renameat)(from_folder, from, to_folder, to))) OVER
}

static int changed(char op, int folder, const char *path, int done) {
	char whole[PATH_MAX];
	if (!done && ours(folder, path, whole))
		tell(op, -1, 0, whole, NULL, 0);
	return done;
}
int unlink(const char *path) { ONCE(changed('U', AT_FDCWD, path, REAL(unlink)(path))) OVER }
int unlinkat(int folder, const char *path, int flags) {
	ONCE(changed(flags & AT_REMOVEDIR ? 'X' : 'U', folder, path, REAL(unlinkat)(folder, path, flags))) OVER
}
int rmdir(const char *path) { ONCE(changed('X', AT_FDCWD, path, REAL(rmdir)(path))) OVER }
int mkdir(const char *path, mode_t mode) { ONCE(changed('M', AT_FDCWD, path, REAL(mkdir)(path, mode))) OVER }
int mkdirat(int folder, const char *path, mode_t mode) {
	ONCE(changed('M', folder, path, REAL(mkdirat)(folder, path, mode))) OVER
}
