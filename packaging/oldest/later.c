/* What programs built on a newer system ask of glibc and glibc 2.28 does not have, made of what it has. Linked into the programs that
   are handed out (packaging/oldest/mod.rs) and visible to nothing else. No header is included: newer ones give the names below other
   meanings. */

#define OWN __attribute__((visibility("hidden")))

/* Until 2.32 these were macros around functions that take the version of the structure; 1 is the only one on x86-64. */
struct stat64;
extern int __xstat64(int version, const char *path, struct stat64 *found);
extern int __lxstat64(int version, const char *path, struct stat64 *found);
extern int __fxstat64(int version, int file, struct stat64 *found);
extern int __fxstatat64(int version, int folder, const char *path, struct stat64 *found, int flags);

OWN int stat64(const char *path, struct stat64 *found) { return __xstat64(1, path, found); }
OWN int lstat64(const char *path, struct stat64 *found) { return __lxstat64(1, path, found); }
OWN int fstat64(int file, struct stat64 *found) { return __fxstat64(1, file, found); }
OWN int fstatat64(int folder, const char *path, struct stat64 *found, int flags) {
  return __fxstatat64(1, folder, path, found, flags);
}

/* Both structures are the same on x86-64. */
OWN int stat(const char *path, struct stat64 *found) { return __xstat64(1, path, found); }
OWN int lstat(const char *path, struct stat64 *found) { return __lxstat64(1, path, found); }
OWN int fstat(int file, struct stat64 *found) { return __fxstat64(1, file, found); }
OWN int fstatat(int folder, const char *path, struct stat64 *found, int flags) {
  return __fxstatat64(1, folder, path, found, flags);
}

/* 2.32: whether no second thread was ever started. "No" is always safe: counts are then kept by atomic operations. */
OWN char __libc_single_threaded = 0;

/* 2.38: reading numbers as C23 does, with `0b1`, which nothing here writes. The names in quotes are the older functions. */
#define OLDER(name) __asm__(#name)
extern long older_strtol(const char *text, char **end, int base) OLDER(strtol);
extern long long older_strtoll(const char *text, char **end, int base) OLDER(strtoll);
extern unsigned long older_strtoul(const char *text, char **end, int base) OLDER(strtoul);
extern unsigned long long older_strtoull(const char *text, char **end, int base) OLDER(strtoull);
extern int older_vsscanf(const char *text, const char *format, __builtin_va_list into) OLDER(vsscanf);

OWN long __isoc23_strtol(const char *text, char **end, int base) { return older_strtol(text, end, base); }
OWN long long __isoc23_strtoll(const char *text, char **end, int base) { return older_strtoll(text, end, base); }
OWN unsigned long __isoc23_strtoul(const char *text, char **end, int base) { return older_strtoul(text, end, base); }
OWN unsigned long long __isoc23_strtoull(const char *text, char **end, int base) {
  return older_strtoull(text, end, base);
}
OWN int __isoc23_sscanf(const char *text, const char *format, ...) {
  __builtin_va_list into;
  __builtin_va_start(into, format);
  int read = older_vsscanf(text, format, into);
  __builtin_va_end(into);
  return read;
}

/* 2.38: copying and appending text to `room` bytes; what is returned is the length that there was to write. */
extern __SIZE_TYPE__ strlen(const char *text);
extern __SIZE_TYPE__ strnlen(const char *text, __SIZE_TYPE__ room);
extern void *memcpy(void *to, const void *from, __SIZE_TYPE__ bytes);

OWN __SIZE_TYPE__ strlcpy(char *to, const char *from, __SIZE_TYPE__ room) {
  __SIZE_TYPE__ length = strlen(from), fits = length < room ? length : room - 1;
  if (room != 0) {
    memcpy(to, from, fits);
    to[fits] = 0;
  }
  return length;
}
OWN __SIZE_TYPE__ strlcat(char *to, const char *from, __SIZE_TYPE__ room) {
  __SIZE_TYPE__ there = strnlen(to, room);
  return there + strlcpy(to + there, from, room - there);
}

/* Since 2.34 libc runs a program's constructors itself, and the start files pass none. Before, each program brought the function
   that runs them; newer ones call it as well, where one is passed. The linker leads the start files here (`--wrap`). */
typedef void constructor(int count, char **arguments, char **environment);
extern constructor *__preinit_array_start[] OWN, *__preinit_array_end[] OWN;
extern constructor *__init_array_start[] OWN, *__init_array_end[] OWN;
extern void _init(void) OWN;

static void constructors(int count, char **arguments, char **environment) {
  for (constructor **one = __preinit_array_start; one < __preinit_array_end; one++) (*one)(count, arguments, environment);
  _init();
  for (constructor **one = __init_array_start; one < __init_array_end; one++) (*one)(count, arguments, environment);
}

typedef int program(int count, char **arguments, char **environment);
extern int __real___libc_start_main(program *run, int count, char **arguments, constructor *before, void (*after)(void),
                                    void (*unload)(void), void *stack_end);

OWN int __wrap___libc_start_main(program *run, int count, char **arguments, constructor *before, void (*after)(void),
                                 void (*unload)(void), void *stack_end) {
  return __real___libc_start_main(run, count, arguments, before ? before : constructors, after, unload, stack_end);
}
