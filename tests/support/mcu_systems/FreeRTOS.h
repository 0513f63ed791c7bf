/* What examples/freertos.c uses of the kernel, which Debian and PyPI do not have: enough to compile it. */
#ifndef FREERTOS_H
#define FREERTOS_H
#include <stdint.h>
typedef long BaseType_t;
typedef unsigned long UBaseType_t;
typedef uint32_t TickType_t;
typedef uint32_t StackType_t;
typedef struct { void *memory[20]; } StaticQueue_t;
typedef struct { void *memory[24]; } StaticTask_t;
#define pdTRUE ((BaseType_t)1)
#define pdMS_TO_TICKS(ms) ((TickType_t)(ms))
#define configASSERT(holds) \
    do { \
        if (!(holds)) \
            for (;;) { \
            } \
    } while (0)
#endif
