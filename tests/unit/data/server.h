/* A small server of one file on the loopback interface, which behaves well or in one of several bad ways. */
#ifndef TESTS_DATA_SERVER_H
#define TESTS_DATA_SERVER_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/check.h"

enum { PIECE = 60000 /* bytes after which DROP ends an answer */ };

typedef enum behaviour {
    SERVE,       /* ranges are honoured */
    DROP,        /* each answer ends after `piece` bytes, the connection with it */
    NO_RANGES,   /* the whole file, whatever was asked for */
    WRONG_RANGE, /* 206, but from the start */
    WRONG_BYTES,
    TOO_LONG,
    MISSING,
    REDIRECT, /* to "/again/NAME", which is served */
    REDIRECT_FOREVER,
    REDIRECT_TO_FILE,
} behaviour;

typedef struct server {
    int listener;
    pthread_t thread;
    char url[64];
    behaviour does;
    const uint8_t *content;
    size_t size, piece;
    atomic_int requests;
    atomic_long sent;         /* bytes of content, over all requests */
    atomic_ulong first_range; /* where the first request that asked for a range started */
} server;

static inline void send_all(int socket_, const void *data, size_t size)
{
    for (const char *at = data; size > 0;) {
        ssize_t sent = send(socket_, at, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        at += sent;
        size -= (size_t)sent;
    }
}

static void send_head(int socket_, const char *status, size_t length, const char *more)
{
    char head[512];
    int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status,
                        length, more);
    send_all(socket_, head, (size_t)size);
}

static void send_content(server *s, int socket_, size_t start)
{
    bool partial = start > 0 && s->does != NO_RANGES;
    size_t from = start * (partial && s->does != WRONG_RANGE), length = s->size - from;
    char range[128] = "";
    if (partial)
        snprintf(range, sizeof range, "Content-Range: bytes %zu-%zu/%zu\r\n", from, s->size - 1, s->size);
    send_head(socket_, partial ? "206 Partial Content" : "200 OK", length + (s->does == TOO_LONG), range);
    size_t now = s->does == DROP ? PR_MIN(length, s->piece) : length;
    uint8_t *copy = malloc(now + 1);
    memcpy(copy, s->content + from, now);
    if (s->does == WRONG_BYTES)
        copy[now / 2] ^= 1;
    send_all(socket_, copy, now + (s->does == TOO_LONG));
    atomic_fetch_add(&s->sent, (long)now);
    free(copy);
}

static void answer(server *s, int socket_, const char *request)
{
    const char *range = strstr(request, "Range: bytes=");
    size_t start = range ? strtoul(range + 13, NULL, 10) : 0;
    if (start > 0 && s->first_range == 0)
        s->first_range = start;
    bool again = strncmp(request, "GET /again/", 11) == 0;
    if (s->does == MISSING)
        send_head(socket_, "404 Not Found", 0, "");
    else if (s->does == REDIRECT_FOREVER || (s->does == REDIRECT && !again))
        send_head(socket_, "302 Found", 0, "Location: /again/file.bin\r\n");
    else if (s->does == REDIRECT_TO_FILE)
        send_head(socket_, "302 Found", 0, "Location: file:///etc/hostname\r\n");
    else
        send_content(s, socket_, start);
}

static void *serve(void *arg)
{
    server *s = arg;
    for (int client; (client = accept(s->listener, NULL, NULL)) >= 0; close(client)) {
        char request[4096];
        size_t have = 0;
        ssize_t got;
        request[0] = '\0';
        while (!strstr(request, "\r\n\r\n") && (got = recv(client, request + have, sizeof request - 1 - have, 0)) > 0)
            request[have += (size_t)got] = '\0';
        if (have == 0)
            continue;
        atomic_fetch_add(&s->requests, 1);
        answer(s, client, request);
        shutdown(client, SHUT_WR);
        while (recv(client, request, sizeof request, 0) > 0)
            ;
    }
    return NULL;
}

/* Starts serving `size` bytes; s->url is where. */
static inline void start(server *s, behaviour does, const uint8_t *bytes, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *s = (server){.does = does, .content = bytes, .size = size, .piece = PIECE};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void stop(server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

#endif
