/* What examples/zephyr.c uses of Zephyr, which Debian and PyPI do not have: enough to compile it. */
#ifndef ZEPHYR_KERNEL_H
#define ZEPHYR_KERNEL_H
#include <stddef.h>
#include <stdint.h>
typedef struct { int64_t ticks; } k_timeout_t;
struct k_msgq { char *buffer; size_t size; uint32_t most; };
#define K_NO_WAIT ((k_timeout_t){0})
#define K_SECONDS(s) ((k_timeout_t){(int64_t)(s) * 1000})
#define K_MSGQ_DEFINE(name, message_size, messages, align) \
    static char __attribute__((aligned(align))) name##_buffer[(message_size) * (messages)]; \
    static struct k_msgq name = {name##_buffer, message_size, messages}
#define K_THREAD_DEFINE(name, stack, run, a, b, c, priority, options, delay) \
    extern const struct { void (*entry)(void *, void *, void *); int bytes, level; } name; \
    const struct { void (*entry)(void *, void *, void *); int bytes, level; } name##_of = {run, stack, priority}
int k_msgq_get(struct k_msgq *queue, void *to, k_timeout_t wait);
int k_msgq_put(struct k_msgq *queue, const void *from, k_timeout_t wait);
int64_t k_uptime_get(void);
#endif
