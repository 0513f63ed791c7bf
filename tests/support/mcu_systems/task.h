#ifndef TASK_H
#define TASK_H
typedef struct task *TaskHandle_t;
TaskHandle_t xTaskCreateStatic(void (*run)(void *), const char *name, uint32_t depth, void *argument,
                               UBaseType_t priority, StackType_t *stack, StaticTask_t *task);
TickType_t xTaskGetTickCount(void);
#endif
