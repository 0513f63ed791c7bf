/* A board in QEMU (mps2: Cortex-M3, M4 and M7): a recorded stream from flash, predictions and figures by semihosting. */
#include <string.h>

#include "acc_internal.h"
#include "factory.h"
#include "stream.h"

extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;
int main(void);
void start(void);

static acc_device device;

static int host_call(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void say(const char *text, uint32_t value) {
    char line[64];
    int n = 0, digits = 0;
    char reversed[10];
    while (*text) line[n++] = *text++;
    do reversed[digits++] = (char)('0' + value % 10u);
    while (value /= 10u);
    while (digits) line[n++] = reversed[--digits];
    line[n++] = '\n';
    line[n] = 0;
    host_call(4, line);
}
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
/* with -icount shift=0 an instruction is a nanosecond, and a tick of the 25 MHz clock 40 of them */
static uint32_t since(uint32_t before) { return ((before - SYST_CVR) & 0xFFFFFFu) * 40u; }

int main(void) {
    acc_config config = acc_defaults();
    uint32_t predict = 0, learn = 0, code = 0;
    SYST_RVR = 0xFFFFFFu;
    SYST_CVR = 0;
    SYST_CSR = 5;
    config.factory = (const uint8_t *)acc_factory;
    config.factory_bytes = sizeof acc_factory;
    say("begun ", (uint32_t)-acc_begin(&device, &config));
    for (uint32_t i = 0; i < STREAM; i++) {
        uint32_t before = SYST_CVR;
        const int told = acc_predict(&device, stream_x + i * ACC_INPUT, 0);
        predict += since(before) / STREAM;
        before = SYST_CVR;
        acc_learn(&device, stream_x + i * ACC_INPUT, stream_y[i]);
        learn += since(before) / STREAM;
        code = acc_crc(code, &told, 4);
    }
    say("decisions ", code);
    say("drifts ", device.counts.drifts);
    say("predict ", predict);
    say("learn ", learn);
#if ACC_GRADIENT
    const float *numbers = acc_numbers(&device);
    const uint32_t before = SYST_CVR;
    for (uint32_t at = 0; at < ACC_BATCH; at += ACC_PART)
        acc_step(numbers, device.state.params, device.batch_x, device.batch_y, device.batch_w, numbers + ACC_AT_RATES,
                 device.candidate, 1.0f, device.arena);
    say("step ", since(before));
#endif
    const uint32_t *mark = (const uint32_t *)((uintptr_t)&_estack - 8192);
    while (*mark == 0xDEADBEEFu) mark++;
    say("stack ", (uint32_t)((uintptr_t)&_estack - (uintptr_t)mark));
    host_call(0x18, (const void *)0x20026);
    for (;;) {
    }
}

void start(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the floating-point unit, where there is one */
    for (uint32_t *to = &_sdata, *from = &_sidata; to < &_edata;) *to++ = *from++;
    for (uint32_t *to = &_sbss; to < &_ebss;) *to++ = 0;
    for (uint32_t *to = (uint32_t *)((uintptr_t)&_estack - 8192); (uintptr_t)to < (uintptr_t)&_estack - 96;) *to++ = 0xDEADBEEFu;
    main();
}
static void fault(void) {
    host_call(4, "fault\n");
    host_call(0x18, (const void *)0x20023);
    for (;;) {
    }
}
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[7])(void);
} vectors = {&_estack, {start, fault, fault, fault, fault, fault, fault}};
