/* Bare metal, nothing but the processor: a child of a gateway on the serial port of Arm's MPS2 board (Cortex-M3, M4 or
 * M7), which QEMU emulates. Link it with bare_metal.ld and the .c files of the firmware; run
 *   qemu-system-arm -M mps2-an385 -display none -serial pty -kernel firmware.elf
 * and give the terminal that QEMU names to `acclimate-device gateway`. On another board these change: the addresses of
 * the serial port, what gives random bytes, and flash, which this board has none of: it keeps the factory's weights. */
#include "acclimate.h"
#include "factory.h"

#define UART_DATA (*(volatile uint32_t *)0x40004000u)
#define UART_STATE (*(volatile uint32_t *)0x40004004u) /* bit 0: cannot take a byte, bit 1: has one */
#define UART_CONTROL (*(volatile uint32_t *)0x40004008u)
#define UART_DIVIDER (*(volatile uint32_t *)0x40004010u)
#define TIMER (*(volatile uint32_t *)0xE000E018u) /* SysTick's count */
#define TIMER_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define TIMER_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88u)

extern uint32_t stack_top, data_from, data_begin, data_end, bss_begin, bss_end;
int main(void);
void start(void);

static acc_device device; /* all there is in RAM, with the line's buffer below */
static acc_link line;

static void put(void *context, const uint8_t *bytes, uint32_t count) {
    (void)context;
    while (count--) {
        while (UART_STATE & 1u) {
        }
        UART_DATA = *bytes++;
    }
}

/* Ids of reports have to differ, no more; a board with a generator of random numbers asks that. */
static int fill(void *context, uint8_t *to, uint32_t count) {
    static uint32_t state = 1;
    (void)context;
    while (count--) *to++ = (uint8_t)((state = state * 1664525u + 1013904223u + TIMER) >> 24);
    return 0;
}

int main(void) {
    acc_config config = acc_defaults();
    config.factory = (const uint8_t *)acc_factory;
    config.factory_bytes = sizeof acc_factory;
    TIMER_RELOAD = 0xFFFFFFu;
    TIMER_CONTROL = 5;
    UART_DIVIDER = 217; /* 115,200 baud at 25 MHz */
    UART_CONTROL = 3;
    if (acc_begin(&device, &config)) return 1;
    acc_link_begin(&line, &device, fill, put, 0);
    for (;;) {
        while (!(UART_STATE & 2u)) { /* here an application reads its sensor and calls acc_predict */
        }
        const uint8_t byte = (uint8_t)UART_DATA;
        acc_link_take(&line, &byte, 1);
    }
}

void start(void) {
    COPROCESSORS |= 0xFu << 20; /* the floating-point unit, where there is one */
    for (uint32_t *to = &data_begin, *from = &data_from; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_begin; to < &bss_end;) *to++ = 0;
    (void)main();
    for (;;) {
    }
}
static void fault(void) {
    for (;;) {
    }
}
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[7])(void);
} vectors = {&stack_top, {start, fault, fault, fault, fault, fault, fault}};
