/* SPDX-License-Identifier: Apache-2.0
 *
 * What runs in the suite's images where there is no shell: one file, no library, no interpreter.
 *
 * Its arguments are verbs with their words, done one after the other, each told in lines:
 *
 *   say                what it was started with: argv, environment, folder, user and groups
 *   cat FILE           the bytes of a file
 *   list DIR           the names in a folder, in the kernel's order
 *   echo WORD          the word
 *   create FILE        a new empty file; "create FILE: ok", or the number of the error
 *   append FILE        a byte more at its end; in the same way
 *   delete FILE        in the same way
 *   wait               sleep until a signal comes; "signal N"
 *   exit CODE          end at once
 *
 * After the last verb it ends with 0; what it doesn't understand ends it with 64. Built with
 * neither libc nor compiler-rt, so that what is shipped is this file and nothing else:
 *
 *   cc -static -nostdlib -ffreestanding -Os -o helper helper.c
 */

typedef unsigned long word;

#if defined(__x86_64__)

enum { READ = 0, WRITE = 1, CLOSE = 3, GETUID = 102, GETGID = 104, GETEUID = 107, GETEGID = 108,
       GETGROUPS = 115, GETCWD = 79, SIGPROCMASK = 14, SIGTIMEDWAIT = 128, GETDENTS = 217,
       EXIT_GROUP = 231, OPENAT = 257, UNLINKAT = 263 };

static long call(long number, word a, word b, word c, word d)
{
    long result;
    register word fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".text\n.globl _start\n_start:\n"
        "  xor %rbp, %rbp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n  hlt\n");

#elif defined(__aarch64__)

enum { READ = 63, WRITE = 64, CLOSE = 57, GETUID = 174, GETGID = 176, GETEUID = 175, GETEGID = 177,
       GETGROUPS = 158, GETCWD = 17, SIGPROCMASK = 135, SIGTIMEDWAIT = 137, GETDENTS = 61,
       EXIT_GROUP = 94, OPENAT = 56, UNLINKAT = 35 };

static long call(long number, word a, word b, word c, word d)
{
    register long x8 __asm__("x8") = number;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return (long)x0;
}

__asm__(".text\n.globl _start\n_start:\n"
        "  mov x29, xzr\n  mov x30, xzr\n  mov x0, sp\n  and sp, x0, #-16\n  bl begin\n  brk #0\n");

#else
#error "the helper is written for x86-64 and arm64"
#endif

/* Of fcntl.h, signal.h and errno.h; the same on both machines. */
enum { HERE = -100, READ_ONLY = 0, WRITE_ONLY = 1, CREATE = 0100, EXCLUSIVE = 0200, APPEND = 02000,
       SIG_BLOCK = 0, SIGCHLD = 17, SIGWINCH = 28, EINTR = 4, EX_USAGE = 64, MASK_BYTES = 8 };

static char buffer[65536];

/* Compilers make calls of this even here. */
void *memset(void *to, int value, word size)
{
    volatile char *at = to;
    while (size--)
        *at++ = (char)value;
    return to;
}

static void finish(int code)
{
    for (;;)
        call(EXIT_GROUP, (word)code, 0, 0, 0);
}

static word length(const char *text)
{
    word count = 0;
    while (text[count])
        count++;
    return count;
}

static int same(const char *one, const char *other)
{
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

static void put(const char *data, word size)
{
    while (size) {
        long written = call(WRITE, 1, (word)data, size, 0);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            finish(1);
        data += written;
        size -= (word)written;
    }
}

static void text(const char *said)
{
    put(said, length(said));
}

static void number(long value)
{
    char digits[24], *at = digits + sizeof digits;
    word left = value < 0 ? -(word)value : (word)value;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        *--at = '-';
    put(at, (word)(digits + sizeof digits - at));
}

static void line(const char *name, long value)
{
    text(name);
    text(" ");
    number(value);
    text("\n");
}

static void quoted(const char *name, const char *value)
{
    text(name);
    text(" <");
    text(value);
    text(">\n");
}

static void outcome(const char *verb, const char *path, long result)
{
    text(verb);
    text(" ");
    text(path);
    text(": ");
    if (result < 0)
        line("error", -result);
    else
        text("ok\n");
}

static void say(char **argv, char **envp)
{
    static unsigned int groups[65536 / 4];
    long count = call(GETGROUPS, sizeof groups / sizeof *groups, (word)groups, 0, 0);
    for (; *argv; argv++)
        quoted("argv", *argv);
    for (; *envp; envp++)
        quoted("env", *envp);
    if (call(GETCWD, (word)buffer, sizeof buffer, 0, 0) > 0)
        quoted("cwd", buffer);
    line("uid", call(GETUID, 0, 0, 0, 0));
    line("euid", call(GETEUID, 0, 0, 0, 0));
    line("gid", call(GETGID, 0, 0, 0, 0));
    line("egid", call(GETEGID, 0, 0, 0, 0));
    for (long at = 0; at < count; at++)
        line("group", groups[at]);
}

static void cat(const char *path)
{
    long file = call(OPENAT, (word)HERE, (word)path, READ_ONLY, 0), got;
    if (file < 0) {
        outcome("cat", path, file);
        return;
    }
    while ((got = call(READ, (word)file, (word)buffer, sizeof buffer, 0)) > 0)
        put(buffer, (word)got);
    call(CLOSE, (word)file, 0, 0, 0);
    if (got < 0)
        outcome("cat", path, got);
}

static void list(const char *path)
{
    long folder = call(OPENAT, (word)HERE, (word)path, READ_ONLY, 0), got = folder;
    while (folder >= 0 &&
           (got = call(GETDENTS, (word)folder, (word)buffer, sizeof buffer, 0)) > 0) {
        /* Each entry: inode (8), offset (8), its own length (2), type (1), name. */
        for (long at = 0; at < got;) {
            char *entry = buffer + at;
            if (!same(entry + 19, ".") && !same(entry + 19, ".."))
                quoted("name", entry + 19);
            at += *(unsigned short *)(entry + 16);
        }
    }
    if (folder >= 0)
        call(CLOSE, (word)folder, 0, 0, 0);
    outcome("list", path, got);
}

static long touch(const char *path, word flags, word size)
{
    long file = call(OPENAT, (word)HERE, (word)path, WRITE_ONLY | flags, 0644), result = file;
    if (file >= 0) {
        if (size)
            result = call(WRITE, (word)file, (word)"\n", size, 0);
        call(CLOSE, (word)file, 0, 0, 0);
    }
    return result;
}

static void await(word *all)
{
    long got;
    /* Blocked signals reach the first process of a pid namespace too, which ignores others. */
    do
        got = call(SIGTIMEDWAIT, (word)all, 0, 0, MASK_BYTES);
    while (got < 0 || got == SIGCHLD || got == SIGWINCH);
    line("signal", got);
}

/* The kernel's words at the top of the stack: argc, argv, 0, environment, 0. */
__attribute__((used)) void begin(word *stack)
{
    char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1, **at = argv;
    word all = ~0ul;
    /* From the beginning, so that a signal that comes early is waited for as well. */
    call(SIGPROCMASK, SIG_BLOCK, (word)&all, 0, MASK_BYTES);
    while (stack[0] && *++at) {
        const char *verb = *at, *about;
        if (same(verb, "say")) {
            say(argv, envp);
            continue;
        }
        if (same(verb, "wait")) {
            await(&all);
            continue;
        }
        about = *++at;
        if (!about)
            finish(EX_USAGE);
        if (same(verb, "echo")) {
            text(about);
            text("\n");
        } else if (same(verb, "cat")) {
            cat(about);
        } else if (same(verb, "list")) {
            list(about);
        } else if (same(verb, "create")) {
            outcome(verb, about, touch(about, CREATE | EXCLUSIVE, 0));
        } else if (same(verb, "append")) {
            outcome(verb, about, touch(about, APPEND, 1));
        } else if (same(verb, "delete")) {
            outcome(verb, about, call(UNLINKAT, (word)HERE, (word)about, 0, 0));
        } else if (same(verb, "exit")) {
            int code = 0;
            while (*about >= '0' && *about <= '9')
                code = code * 10 + *about++ - '0';
            finish(code);
        } else {
            finish(EX_USAGE);
        }
    }
    finish(0);
}
