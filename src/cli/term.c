/* The terminal: its width, the progress bar, warnings and Ctrl-C. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

/* One command runs at a time in this process, so its terminal state is the process's. */
static struct {
    bool quiet, bar_shown, json_on_stdout;
    char task[96];
    double task_start, last_drawn;
    uint64_t task_done; /* what was done already when the task was first seen */
} terminal;

static volatile sig_atomic_t interrupted;
static volatile double interrupt_time;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int width_of(int descriptor)
{
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    return 0;
}

int terminal_width(void)
{
    int width = width_of(STDOUT_FILENO);
    return width ? width : 80;
}

FILE *results(void)
{
    return terminal.json_on_stdout ? stderr : stdout;
}

void terminal_clear(void)
{
    if (terminal.bar_shown)
        fputs("\r\033[K", stderr);
    terminal.bar_shown = false;
}

void chat(const char *format, ...)
{
    if (terminal.quiet)
        return;
    terminal_clear();
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void on_log(void *user, parry_log_level level, const char *message)
{
    (void)user;
    if (level == PARRY_LOG_DEBUG || (terminal.quiet && level != PARRY_LOG_WARNING))
        return;
    terminal_clear();
    fprintf(stderr, "%s%s\n", level == PARRY_LOG_WARNING ? "warning: " : "", message);
}

static void duration_text(double seconds, char text[24])
{
    int s = (int)(seconds + 0.5);
    if (s < 60)
        snprintf(text, 24, "%d s", s);
    else
        snprintf(text, 24, "%d:%02d min", s / 60, s % 60);
}

static void on_progress(void *user, const parry_progress *p)
{
    (void)user;
    double time = now();
    if (strncmp(terminal.task, p->task, sizeof terminal.task - 1) != 0) {
        snprintf(terminal.task, sizeof terminal.task, "%s", p->task);
        terminal.task_start = time;
        terminal.task_done = p->done;
        terminal.last_drawn = 0;
    }
    if (time - terminal.last_drawn < 0.1 && p->done != p->total)
        return;
    terminal.last_drawn = time;
    double elapsed = time - terminal.task_start,
           rate = elapsed > 0 ? (double)(p->done - terminal.task_done) / elapsed : 0;
    char line[256], bar[21] = "", left[40] = "", eta[24];
    if (p->total) {
        int filled = (int)(20 * (double)p->done / (double)p->total);
        for (int i = 0; i < 20; i++)
            bar[i] = i < filled ? '#' : '.';
        if (rate > 0) {
            duration_text((double)(p->total - p->done) / rate, eta);
            snprintf(left, sizeof left, "  %s left", eta);
        }
    }
    snprintf(line, sizeof line, "%s [%s] %.0f %s/s%s%s%s", p->task, bar, rate, p->unit, left, p->note ? "  " : "",
             p->note ? p->note : "");
    int width = width_of(STDERR_FILENO);
    fprintf(stderr, "\r%.*s\033[K", width ? width - 1 : 79, line);
    fflush(stderr);
    terminal.bar_shown = true;
}

static void on_interrupt(int signal_number)
{
    if (!interrupted) {
        interrupt_time = now();
        interrupted = 1;
    } else if (now() - interrupt_time >
               1) { /* once more means at once; sooner, it is the same interrupt delivered twice, as timeout(1) does */
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
}

static int cancelled(void *user)
{
    (void)user;
    return interrupted;
}

parry_status terminal_context(const common_options *options, parry_ctx **out)
{
    terminal.quiet = options && options->quiet;
    if (options && options->json && strcmp(options->json, "-") == 0)
        terminal.json_on_stdout = true;
    /* Some of oneDNN's kernels point the stack pointer into the heap while they run: a handler's frame must not go
     * there. */
    static char signal_stack[1 << 16];
    sigaltstack(&(stack_t){.ss_sp = signal_stack, .ss_size = sizeof signal_stack}, NULL);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_ONSTACK}, before;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* nohup ignores it */
        sigaction(SIGHUP, &action, NULL);
    parry_ctx_options ctx = {
        .size = sizeof ctx,
        .seed = options ? (uint64_t)options->seed : 0,
        .threads = options ? (int)options->threads : 0,
        .log = on_log,
        .progress = !terminal.quiet && isatty(STDERR_FILENO) ? on_progress : NULL,
        .cancelled = cancelled,
    };
    return parry_ctx_create(&ctx, out);
}
