/* Runs a command and reports its wall time and peak memory as a JSON line:
 *
 *     bench_measure NAME RUNS COMMAND [ARGUMENT ...]
 *
 * The time is the median of the runs, the memory the largest. The command's standard output is discarded. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MOST = 1000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void child(char **command)
{
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0)
        dup2(null, STDOUT_FILENO);
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

int main(int argc, char **argv)
{
    double seconds[RUNS_MOST];
    long memory = 0;
    int runs = argc > 3 ? atoi(argv[2]) : 0;
    if (runs < 1 || runs > RUNS_MOST) {
        fprintf(stderr, "usage: bench_measure NAME RUNS COMMAND [ARGUMENT ...]\n");
        return 2;
    }
    for (int run = 0; run < runs; run++) {
        struct rusage usage;
        int status;
        double start = now();
        pid_t pid = fork();
        if (pid == 0)
            child(argv + 3);
        if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fprintf(stderr, "bench_measure: %s failed\n", argv[3]);
            return 1;
        }
        seconds[run] = now() - start;
        memory = usage.ru_maxrss > memory ? usage.ru_maxrss : memory;
    }
    qsort(seconds, (size_t)runs, sizeof seconds[0], by_value);
    printf("{\"bench\": \"command\", \"step\": \"%s\", \"seconds\": %.4f, \"peak_mb\": %.1f}\n", argv[1],
           seconds[runs / 2], (double)memory / 1024);
    return 0;
}
