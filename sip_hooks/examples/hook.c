/* A hook in C: ask sad which association protects a flow, and print its id and its note.
 * Build: cc -o hook hook.c   Use: ./hook /run/sad.sock PEER PORT LOCAL PORT
 * Exit status: 0 protected, 1 not, 2 sad is away (answer the UE with 503 then). */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un sad = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_usec = 200000}; /* a SIP worker waits no longer */
    char call[512], reply[65536];
    size_t got = 0;
    if (argc != 6)
        return 2;
    int line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(sad.sun_path, sizeof sad.sun_path, "%s", argv[1]);
    setsockopt(line, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(line, (struct sockaddr *)&sad, sizeof sad))
        return 2;
    int length = snprintf(call, sizeof call,
                          "{\"method\":\"org.sipsad.Associations.Find\",\"parameters\":{\"flow\":"
                          "{\"peerAddress\":\"%s\",\"peerPort\":%s,\"localAddress\":\"%s\","
                          "\"localPort\":%s}}}", argv[2], argv[3], argv[4], argv[5]) + 1;
    if (length > (int)sizeof call || send(line, call, length, MSG_NOSIGNAL) != length)
        return 2;                              /* with its NUL: the end of a message */
    while (got < sizeof reply && !memchr(reply, 0, got)) {
        ssize_t more = recv(line, reply + got, sizeof reply - got, 0);
        if (more <= 0)
            return 2;
        got += more;
    }
    puts(reply);                               /* JSON: give it to the server's own parser */
    return strncmp(reply, "{\"error\"", 8) == 0;
}
