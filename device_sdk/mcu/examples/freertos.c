/* FreeRTOS: one task owns the device, the others send it work. No heap of the kernel is used either. */
#include <FreeRTOS.h>
#include <queue.h>
#include <string.h>
#include <task.h>

#include "acclimate.h"
#include "factory.h"

enum { WAITING = 2, STACK_WORDS = 512, PRIORITY = 2 };
typedef struct {
    int32_t label; /* below 0: predict */
    acc_real x[ACC_INPUT];
} work;

void acclimate_start(void (*predicted)(int label));
int acclimate_window(const acc_real *x, int32_t label);

static acc_device device;
static void (*told)(int label);
static QueueHandle_t queue;
static StaticQueue_t queue_memory;
static StaticTask_t task_memory;
static StackType_t stack[STACK_WORDS];
static uint8_t places[WAITING * sizeof(work)];

static void run(void *unused) {
    static work next;
    TickType_t saved = xTaskGetTickCount();
    (void)unused;
    for (;;) {
        if (xQueueReceive(queue, &next, pdMS_TO_TICKS(1000)) == pdTRUE) {
            if (next.label >= 0) (void)acc_learn(&device, next.x, next.label);
            else told(acc_predict(&device, next.x, 0));
        }
        if (xTaskGetTickCount() - saved > pdMS_TO_TICKS(60000)) { /* flash wears: once a minute */
            saved = xTaskGetTickCount();
            (void)acc_save(&device);
        }
    }
}

/* Once, before the scheduler starts. `predicted` is called from the task. */
void acclimate_start(void (*predicted)(int label)) {
    acc_config config = acc_defaults();
    config.factory = (const uint8_t *)acc_factory;
    config.factory_bytes = sizeof acc_factory;
    configASSERT(acc_begin(&device, &config) == ACC_OK);
    told = predicted;
    queue = xQueueCreateStatic(WAITING, sizeof(work), places, &queue_memory);
    (void)xTaskCreateStatic(run, "acclimate", STACK_WORDS, 0, PRIORITY, stack, &task_memory);
}

/* From any task: a window to predict (label -1) or to learn from; 0 where the queue is full. */
int acclimate_window(const acc_real *x, int32_t label) {
    static work next; /* callers hold a lock, or there is one of them */
    next.label = label;
    memcpy(next.x, x, sizeof next.x);
    return xQueueSend(queue, &next, 0) == pdTRUE;
}
