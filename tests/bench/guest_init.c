/* First program of a QEMU guest: loads what the host's file system comes through, and steps onto it.
 *
 * Static, alone in the initial RAM disk beside the modules, which /modules lists in their order. The
 * kernel's command line names the script that goes on from there (BENCH_INIT).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    sleep(1); /* the console is slow */
    exit(1);
}

int main(void)
{
    char path[256];
    FILE *list = fopen("/modules", "r");
    if (!list)
        fail("/modules");
    while (fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
            fail(path);
        close(fd);
    }
    mkdir("/host", 0755);
    if (mount("root", "/host", "virtiofs", MS_RDONLY, NULL))
        fail("the host's file system");
    if (chdir("/host") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        fail("stepping onto it");
    const char *script = getenv("BENCH_INIT");
    if (!script)
        fail("BENCH_INIT");
    execl("/bin/sh", "sh", script, NULL);
    fail("/bin/sh");
}
