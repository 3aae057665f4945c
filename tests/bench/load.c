/* A SIP server's side of many registrations: Offer, and Confirm once it is answered.
 *
 * usage: load SOCKET CONNECTIONS DEPTH OFFERS TIMES
 *
 * OFFERS holds the calls, each ended by a NUL, as tests/bench/registrations.py writes them.
 * Connections take them in turn; on each up to DEPTH registrations are under way, so that calls
 * wait behind each other as they do in a crowd. The id of an association is taken out of the answer
 * and named in its Confirm. TIMES receives for each registration two doubles: seconds to the
 * answer of Offer, and of Confirm. Prints the seconds of the whole. An answer that tells an error
 * ends the program with its text and status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 256, MOST_DEPTH = 64, ROOM = 1 << 18 };

static const char CONFIRM[] =
    "{\"method\":\"org.sipsad.Associations.Confirm\",\"parameters\":"
    "{\"id\":\"%.*s\",\"expiresSeconds\":600000}}";
static const char ID[] = "\"id\":\"";

struct call {
    long registration;
    int confirms;
    double begun;
};

/* Calls are answered in the order in which they were sent. */
struct connection {
    int fd;
    struct call sent[2 * MOST_DEPTH];
    unsigned first, last;
    char in[ROOM], out[ROOM];
    size_t in_size, out_size;
};

static char **offers;
static long count, next_offer, finished;
static double *times;
static struct connection connections[MOST_CONNECTIONS];

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void append(struct connection *c, const char *text, size_t size, long of, int confirms)
{
    if (c->out_size + size > ROOM) {
        errno = ENOBUFS;
        fail("too much is under way");
    }
    memcpy(c->out + c->out_size, text, size);
    c->out_size += size;
    c->sent[c->last++ % (2 * MOST_DEPTH)] =
        (struct call){.registration = of, .confirms = confirms, .begun = now()};
}

static void offer(struct connection *c)
{
    if (next_offer < count) {
        long of = next_offer++;
        append(c, offers[of], strlen(offers[of]) + 1, of, 0);
    }
}

static void take(struct connection *c, const char *answer)
{
    struct call done = c->sent[c->first++ % (2 * MOST_DEPTH)];
    if (strncmp(answer, "{\"error\"", 8) == 0 || strstr(answer, "\"error\":\"")) {
        fprintf(stderr, "load: %s\n", answer);
        exit(1);
    }
    times[2 * done.registration + done.confirms] = now() - done.begun;
    if (done.confirms) {
        ++finished;
        offer(c);
        return;
    }
    const char *id = strstr(answer, ID);
    const char *end = id ? strchr(id + sizeof ID - 1, '"') : NULL;
    if (!end) {
        errno = EPROTO;
        fail("an answer without an id");
    }
    char text[512];
    id += sizeof ID - 1;
    int size = snprintf(text, sizeof text, CONFIRM, (int)(end - id), id);
    append(c, text, (size_t)size + 1, done.registration, 1);
}

static void receive(struct connection *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_size, ROOM - c->in_size, MSG_DONTWAIT);
    if (got == 0) {
        errno = ECONNRESET;
        fail("the daemon hung up");
    }
    if (got < 0) {
        if (errno != EAGAIN)
            fail("recv");
        return;
    }
    c->in_size += (size_t)got;
    char *at = c->in, *end;
    while ((end = memchr(at, 0, c->in_size - (size_t)(at - c->in)))) {
        take(c, at);
        at = end + 1;
    }
    c->in_size -= (size_t)(at - c->in);
    memmove(c->in, at, c->in_size);
}

static void transmit(struct connection *c)
{
    while (c->out_size) {
        ssize_t sent = send(c->fd, c->out, c->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail("send");
            return;
        }
        c->out_size -= (size_t)sent;
        memmove(c->out, c->out + sent, c->out_size);
    }
}

static char *read_file(const char *path, size_t *size)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &s))
        fail(path);
    char *text = malloc((size_t)s.st_size);
    if (!text || read(fd, text, (size_t)s.st_size) != s.st_size)
        fail(path);
    close(fd);
    *size = (size_t)s.st_size;
    return text;
}

static void connect_to(struct connection *c, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
        fail(path);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: load SOCKET CONNECTIONS DEPTH OFFERS TIMES\n");
        return 2;
    }
    int many = atoi(argv[2]), depth = atoi(argv[3]);
    if (many < 1 || many > MOST_CONNECTIONS || depth < 1 || depth > MOST_DEPTH) {
        fprintf(stderr, "load: too many connections, or too deep\n");
        return 2;
    }
    size_t size;
    char *text = read_file(argv[4], &size);
    for (size_t at = 0; at < size; at += strlen(text + at) + 1)
        ++count;
    offers = calloc((size_t)count, sizeof *offers);
    times = calloc((size_t)count, 2 * sizeof *times);
    if (!offers || !times)
        fail("no memory");
    count = 0;
    for (size_t at = 0; at < size; at += strlen(text + at) + 1)
        offers[count++] = text + at;
    struct pollfd polled[MOST_CONNECTIONS];
    for (int n = 0; n < many; ++n)
        connect_to(&connections[n], argv[1]);
    double begun = now();
    for (int d = 0; d < depth; ++d)
        for (int n = 0; n < many; ++n)
            offer(&connections[n]);
    while (finished < count) {
        for (int n = 0; n < many; ++n) {
            struct connection *c = &connections[n];
            transmit(c);
            polled[n] = (struct pollfd){
                .fd = c->fd, .events = (short)(POLLIN | (c->out_size ? POLLOUT : 0))};
        }
        if (poll(polled, (nfds_t)many, 60000) <= 0)
            fail("nothing came for a minute");
        for (int n = 0; n < many; ++n)
            if (polled[n].revents & (POLLIN | POLLHUP))
                receive(&connections[n]);
    }
    double took = now() - begun;
    FILE *output = fopen(argv[5], "wb");
    if (!output || fwrite(times, 2 * sizeof *times, (size_t)count, output) != (size_t)count
        || fclose(output))
        fail(argv[5]);
    printf("%.9f\n", took);
    return 0;
}
