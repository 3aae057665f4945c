/* What others do with the same netlink messages, each as one function that tells its own time.
 *
 * Messages come encoded: what is timed is sending them, and reading what answers come. Times are
 * seconds of CLOCK_MONOTONIC; -1 stands for an error of this program, with errno. Loaded by
 * tests/bench/baselines.py, in the network namespace of the thread that calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static const int RECEIVE_BUFFER = 1 << 20;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_xfrm(int flags)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_XFRM);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &RECEIVE_BUFFER, sizeof RECEIVE_BUFFER))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &RECEIVE_BUFFER, sizeof RECEIVE_BUFFER);
    if (bind(fd, (struct sockaddr *)&self, sizeof self)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Read the answers that lie there; count those that tell of an error. */
static int drain(int fd, long *errors)
{
    char answers[65536] __attribute__((aligned(8)));
    for (;;) {
        ssize_t got = recv(fd, answers, sizeof answers, MSG_DONTWAIT);
        if (got < 0)
            return errno == EAGAIN ? 0 : -1;
        int left = (int)got;
        for (struct nlmsghdr *m = (void *)answers; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            struct nlmsgerr *e = NLMSG_DATA(m);
            if (m->nlmsg_type == NLMSG_ERROR && e->error)
                ++*errors;
        }
    }
}

/* The kernel's limit: whole sets in sends of at most `room` bytes, errors read after each send.
 * Set n ends at ends[n]. */
double replay(const char *messages, const uint64_t *ends, long sets, uint64_t room, long *errors)
{
    int fd = open_xfrm(0);
    if (fd < 0)
        return -1;
    double begun = now();
    uint64_t sent = 0;
    for (long set = 0; set < sets;) {
        uint64_t end = ends[set++];
        while (set < sets && ends[set] - sent <= room)
            end = ends[set++];
        if (send(fd, messages + sent, end - sent, 0) < 0 || drain(fd, errors)) {
            close(fd);
            return -1;
        }
        sent = end;
    }
    double took = now() - begun;
    close(fd);
    return took;
}

/* Who waits for an acknowledgement of each message: the careful SIP server. Sets the flag in the
 * messages. */
double acknowledged(char *messages, uint64_t size, long *errors)
{
    char answer[4096] __attribute__((aligned(8)));
    int fd = open_xfrm(0);
    if (fd < 0)
        return -1;
    double begun = now();
    for (uint64_t at = 0; at < size;) {
        struct nlmsghdr *m = (void *)(messages + at);
        m->nlmsg_flags |= NLM_F_ACK;
        if (send(fd, m, m->nlmsg_len, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0) {
            close(fd);
            return -1;
        }
        struct nlmsgerr *e = NLMSG_DATA((struct nlmsghdr *)answer);
        *errors += e->error != 0;
        at += NLMSG_ALIGN(m->nlmsg_len);
    }
    double took = now() - begun;
    close(fd);
    return took;
}

/* Kamailio's ims_ipsec_pcscf: a socket for each registration, a send for each message, nothing
 * read. With `each` given, seconds of every set go there: how long a worker is blocked. */
double unread(const char *messages, const uint64_t *ends, long sets, double *each)
{
    double begun = now(), last = begun;
    uint64_t at = 0;
    for (long set = 0; set < sets; ++set) {
        struct sockaddr_nl self = {.nl_family = AF_NETLINK};
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_XFRM);
        if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self))
            return -1;
        while (at < ends[set]) {
            const struct nlmsghdr *m = (const void *)(messages + at);
            if (send(fd, m, m->nlmsg_len, 0) < 0)
                return -1;
            at += NLMSG_ALIGN(m->nlmsg_len);
        }
        close(fd);
        if (each) {
            double here = now();
            each[set] = here - last;
            last = here;
        }
    }
    return now() - begun;
}
