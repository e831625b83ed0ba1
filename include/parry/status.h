/* Status codes. Every fallible function returns one; the sentence that explains it is in the context. */
#ifndef PARRY_STATUS_H
#define PARRY_STATUS_H

#if defined(__GNUC__)
#define PARRY_API __attribute__((visibility("default")))
#define PARRY_CHECKED __attribute__((warn_unused_result))
#define PARRY_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define PARRY_API
#define PARRY_CHECKED
#define PARRY_PRINTF(format_at, args_at)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* name, what it means. */
#define PARRY_STATUS_LIST(X)                                                                                           \
    X(OK, "success")                                                                                                   \
    X(INVALID, "an argument or option is out of range")                                                                \
    X(NOT_FOUND, "a file, dataset or name does not exist")                                                             \
    X(IO, "reading or writing failed")                                                                                 \
    X(FORMAT, "a file is corrupt or not of the expected format")                                                       \
    X(UNSUPPORTED, "a valid request that this build cannot serve")                                                     \
    X(MISMATCH, "two inputs do not fit each other")                                                                    \
    X(NUMERIC, "a value is not finite")                                                                                \
    X(NO_MEMORY, "out of memory")                                                                                      \
    X(NETWORK, "a download failed")                                                                                    \
    X(CANCELLED, "interrupted by the caller")

typedef enum parry_status {
#define PARRY_STATUS_ENUM(name, meaning) PARRY_##name,
    PARRY_STATUS_LIST(PARRY_STATUS_ENUM)
#undef PARRY_STATUS_ENUM
} parry_status;

/* "INVALID", ... ; never NULL. */
PARRY_API const char *parry_status_name(parry_status status);

#ifdef __cplusplus
}
#endif
#endif
