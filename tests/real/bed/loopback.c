/* A server that knows no bind address is made to listen on loopback only: preloaded, this replaces the wildcard address of
 * every bind() by the loopback one. Built by tests/real/bed/metastore.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

typedef int bind_function(int, const struct sockaddr *, socklen_t);

int bind(int socket, const struct sockaddr *address, socklen_t length)
{
    bind_function *next = (bind_function *)dlsym(RTLD_NEXT, "bind");
    if (next == NULL)
        return -1;

    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        if (v4.sin_addr.s_addr == htonl(INADDR_ANY))
            v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return next(socket, (struct sockaddr *)&v4, sizeof v4);
    }

    if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        /* Java binds IPv4 through IPv6 sockets: ::ffff:127.0.0.1 is what an IPv4 client on this machine reaches. */
        if (IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) {
            static const unsigned char mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
            memcpy(&v6.sin6_addr, mapped, sizeof mapped);
        }
        return next(socket, (struct sockaddr *)&v6, sizeof v6);
    }

    return next(socket, address, length);
}
