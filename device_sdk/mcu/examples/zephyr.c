/* Zephyr: one thread owns the device, the others send it work by a message queue. */
#include <string.h>
#include <zephyr/kernel.h>

#include "acclimate.h"
#include "factory.h"

enum { WAITING = 2, STACK_BYTES = 2048, PRIORITY = 7 };
struct work {
    int32_t label; /* below 0: predict */
    acc_real x[ACC_INPUT];
};

void acclimate_predicted(int label); /* the application's */
int acclimate_window(const acc_real *x, int32_t label);

static acc_device device;
K_MSGQ_DEFINE(acclimate_queue, sizeof(struct work), WAITING, 8);

static void run(void *a, void *b, void *c) {
    static struct work next;
    acc_config config = acc_defaults();
    int64_t saved = k_uptime_get();
    (void)a, (void)b, (void)c;
    config.factory = (const uint8_t *)acc_factory;
    config.factory_bytes = sizeof acc_factory;
    if (acc_begin(&device, &config) != ACC_OK) return;
    for (;;) {
        if (k_msgq_get(&acclimate_queue, &next, K_SECONDS(1)) == 0) {
            if (next.label >= 0) (void)acc_learn(&device, next.x, next.label);
            else acclimate_predicted(acc_predict(&device, next.x, 0));
        }
        if (k_uptime_get() - saved > 60000) { /* flash wears: once a minute */
            saved = k_uptime_get();
            (void)acc_save(&device);
        }
    }
}
K_THREAD_DEFINE(acclimate_thread, STACK_BYTES, run, NULL, NULL, NULL, PRIORITY, 0, 0);

/* From any thread: a window to predict (label -1) or to learn from; 0, or why it was not taken. */
int acclimate_window(const acc_real *x, int32_t label) {
    static struct work next; /* callers hold a lock, or there is one of them */
    next.label = label;
    memcpy(next.x, x, sizeof next.x);
    return k_msgq_put(&acclimate_queue, &next, K_NO_WAIT);
}
