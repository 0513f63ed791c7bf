/* Acclimate on a microcontroller: predict, learn label by label, notice drift, keep what was learnt.
 *
 * One header, one struct that the application owns. No heap, no global state, no libc beyond math and memcpy.
 * `model.h` and `model.c` come from `acclimate export --target c`; weights come apart, as a signed blob.
 * What a call decides is what the Python SDK decides on the same examples: `learn_one`, `predict_one`, `reset`.
 * A label costs one update of heads in closed form, or, where the bundle adapts by gradient steps, some of them when
 * an adaptation is due: at every eighth label, and after an alarm.
 */
#ifndef ACCLIMATE_H
#define ACCLIMATE_H

#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What calls return. A call that is refused has changed nothing but the count of refusals. */
enum {
    ACC_OK = 0,
    ACC_BAD_INPUT = -1,   /* NaN, infinity, or no channel varies: repair or skip the example */
    ACC_BEYOND = -2,      /* far outside of what training saw, and the bundle refuses that */
    ACC_BAD_LABEL = -3,   /* no class of the bundle, or not a finite number */
    ACC_UNUSABLE = -4,    /* the model gives NaN or infinity for this input */
    ACC_NO_WEIGHTS = -5,  /* no blob fits this firmware, or the factory's is not aligned to 4 */
    ACC_FLASH = -6,       /* flash failed, or is too small: see acc_flash_bytes */
    ACC_TRUNCATED = -7,   /* the blob is shorter, longer or other than its header says */
    ACC_TOPOLOGY = -8,    /* the blob is of another network, or export: it needs other firmware */
    ACC_OLD = -9,         /* its counter is not above the one in use */
    ACC_SIGNATURE = -10,  /* nobody this device trusts has signed it */
    ACC_FRAME = -11,      /* a frame of the serial line is damaged or unknown */
    ACC_EMPTY = -12,      /* flash holds nothing of this release */
    ACC_FEW = -13,        /* a round of a fleet that learns together asks for more labelled examples than are kept */
    ACC_WIDE = -14        /* what the examples come to is no finite number, or needs more than the round's 32 bits */
};

/* Flash, as four functions; each returns 0, or anything else where it failed. A region of acc_flash_bytes, from
 * address 0. `program` gets addresses and lengths that are multiples of 32 and erased bytes only. `map` gives the
 * address at which the processor reads flash: weights stay there and take no RAM. */
typedef struct {
    void *context;
    uint32_t page; /* bytes erased at once */
    int (*read)(void *context, uint32_t at, void *to, uint32_t count);
    int (*program)(void *context, uint32_t at, const void *from, uint32_t count);
    int (*erase)(void *context, uint32_t at, uint32_t count);
    const uint8_t *(*map)(void *context, uint32_t at, uint32_t count);
} acc_flash;

/* Whether `signature` is Ed25519 of `message` under `key`: 1 where it is. A call of Monocypher, libsodium, ... */
typedef int (*acc_verify)(const uint8_t signature[64], const uint8_t key[32], const uint8_t *message, uint32_t length);

typedef enum { ACC_ADWIN = 0, ACC_PAGE_HINKLEY = 1 } acc_detector;

#define ACC_MOMENTS (!ACC_GRADIENT && ACC_HEAD_LAST) /* whether there are moments to give, see `seen` */
#if ACC_MOMENTS
#define ACC_MOMENT_COUNT ((uint32_t)(ACC_D * (ACC_D + 1) / 2 + ACC_D * ACC_OUTPUTS))
/* A labelled example as the last layer sees it. */
typedef struct {
    float phi[ACC_D];
#if ACC_CLASSES
    int32_t label;
#else
    float target[ACC_OUTPUTS]; /* in units of training */
#endif
} acc_seen;
#endif

/* What the application decides; acc_defaults gives what the SDK does. */
typedef struct {
    acc_flash flash;        /* `page` 0: none, nothing is kept and weights cannot be replaced */
    acc_verify verify;      /* 0: every blob is refused */
    const uint8_t *key;     /* 32 bytes */
    const uint8_t *factory; /* a blob inside the firmware, or 0; aligned to 4 */
    uint32_t factory_bytes;
    uint32_t watch_every;     /* every how-manieth predicted input the detector of shifts sees */
    uint8_t reopen_on_warning, reopen_on_drift, reopen_on_shift; /* learn anew, or only count */
#if ACC_GRADIENT
    uint32_t every;      /* labels between two adaptations; a quarter of that for `hurry` labels after an alarm */
    uint32_t hurry;
    uint32_t hold_back;  /* every how-manieth label of a class judges, and is not learnt from */
    uint32_t judge_from; /* held-back examples needed before they decide */
    uint32_t keep;       /* newest examples that drift leaves: they are of the new kind */
#endif
#if ACC_MOMENTS
    acc_seen *seen;     /* memory for the newest labelled examples, of which a gateway may ask for moments */
    uint32_t seen_room; /* so many; 0: none, the device takes no part when its fleet learns together */
#endif
    uint8_t allow_constant;   /* accept windows in which no channel varies */
    acc_detector detector;    /* of the losses */
} acc_config;

enum { ACC_ADWIN_ROWS = 12, ACC_ADWIN_BUCKETS = 5, ACC_SHIFT_BLOCKS = 20, ACC_SKETCH = 201 };

typedef struct { double total, squares; } acc_bucket;
typedef struct {
    acc_bucket rows[ACC_ADWIN_ROWS][ACC_ADWIN_BUCKETS + 1]; /* row r: buckets of 2^r values, oldest first */
    double total, squares;
    uint32_t width, ticks;
    uint8_t counts[ACC_ADWIN_ROWS], drift, warning;
} acc_adwin;
typedef struct {
    double mean, rise, lowest, fall, highest;
    uint32_t count;
    uint8_t drift, warning;
} acc_page_hinkley;
typedef struct {
    float sums[ACC_SHIFT], lately[ACC_SHIFT_BLOCKS][ACC_SHIFT], squares[ACC_SHIFT], peaks[ACC_SHIFT], last[ACC_SHIFT];
    float distance;
    uint32_t blocks;
    uint8_t in_block, filled, next, beyond, has_last, told, drift, warning;
} acc_shift;

/* A summary of numbers of at least 0: count, sums, and buckets of 2^(i/4), as in the report's schema. */
typedef struct {
    float sum, squares, maximum;
    uint32_t count;
    uint16_t buckets[ACC_SKETCH];
} acc_sketch;

/* Since the last report. */
typedef struct {
    uint32_t predictions, mistakes, steps, adaptations, kept_starts, warnings, drifts, resets, fallbacks, clamped;
    uint32_t bad_inputs, bad_labels, beyond, lost_states;
} acc_counts;

/* What is learnt, and what is written to flash: the parameters that steps move, or the heads' state, the trust in the
 * experts and the errors' spread. */
typedef struct {
#if ACC_GRADIENT
    float params[ACC_MOVING];
#else
#if ACC_HEAD_LAST
    float last_mean[ACC_D * ACC_OUTPUTS], last_cov[ACC_D * (ACC_D + 1) / 2]; /* lower triangle by rows */
#endif
#if ACC_HEAD_MEANS
    float means_mean[ACC_OUTPUTS * ACC_R], means_cov[ACC_OUTPUTS * (ACC_OUTPUTS + 1) / 2];
#endif
    float trust[ACC_EXPERTS], spread;
#endif
    uint32_t adapted, learnt;
} acc_learned;

#if ACC_GRADIENT
/* A labelled example as recorded; `order` rises with each, 0 is a free place. */
typedef struct {
    uint32_t order;
#if !ACC_CLASSES
    float values[ACC_OUTPUTS];
#endif
    acc_real x[ACC_INPUT];
} acc_kept;
/* Of one class, or of all numbers: places in `kept`, oldest first. */
typedef struct {
    uint32_t seen;
    uint16_t supports, helds, support[ACC_SHOTS], held[ACC_HELD];
    uint8_t begun;
    acc_kept kept[ACC_SHOTS + ACC_HELD];
} acc_shelf;
#endif

typedef struct {
    uint32_t slot, length, at; /* of the blob that is coming in; length 0: none is */
} acc_incoming;

typedef struct {
    acc_config config;
    const uint8_t *blob; /* in use */
    acc_learned state;
    union {
        acc_adwin adwin;
        acc_page_hinkley page_hinkley;
    } detector;
    acc_shift shift;
    acc_counts counts;
    acc_sketch start_loss, adapted_loss;
    acc_incoming incoming;
    uint32_t sequence, watched;
    uint8_t warned, news; /* news of the inputs: 0, 1 a warning, 2 drift */
    float x[ACC_INPUT];   /* the example at hand, normalized */
    float outputs[ACC_OUTPUTS], scratch[ACC_SCRATCH];
#if ACC_GRADIENT
    acc_shelf shelves[ACC_SHELVES];
    uint16_t turns[ACC_SHELVES]; /* the shelves by when they were begun */
    uint32_t begun, order, since, hurry, filled_from, filled_until;
    float candidate[ACC_MOVING], batch_x[ACC_PART * ACC_INPUT], batch_y[ACC_PART * (ACC_CLASSES ? 1 : ACC_OUTPUTS)];
    float batch_w[ACC_PART];
#if ACC_PART < ACC_BATCH
    float moved[ACC_MOVING];
#endif
#else
    float answers[(1 + ACC_HEADS) * ACC_OUTPUTS];
#endif
#if ACC_MOMENTS
    double shortened, grid; /* of the round that asked: what moments are multiplied with */
    uint32_t seen_count, seen_next;
    uint8_t asked;
#endif
    float arena[ACC_ARENA];
#if ACC_CARRY
    acc_real last_row[ACC_INPUT];
    uint8_t has_row;
#endif
} acc_device;

/* ---- what an application calls */

/* What the SDK does by default; flash, key and factory blob are the application's to fill in. */
acc_config acc_defaults(void);
/* Start: the newest accepted weights, else the factory's, and what was learnt with them. ACC_OK, or ACC_NO_WEIGHTS: so
 * are the other calls answered then, until acc_update_finish takes a blob. */
int acc_begin(acc_device *device, const acc_config *config);
/* The class (0 to ACC_OUTPUTS - 1), or ACC_OK of numbers, which are in `outputs` if not 0: log probabilities of
 * classes, values in the recorded units of numbers. `x`: ACC_INPUT values as recorded, channel by channel. */
int acc_predict(acc_device *device, const acc_real *x, float *outputs);
#if ACC_CLASSES
/* Learn from one label: it is predicted first. ACC_OK, or why it was refused. */
int acc_learn(acc_device *device, const acc_real *x, int32_t label);
#else
/* Learn from ACC_OUTPUTS values in the recorded units. */
int acc_learn(acc_device *device, const acc_real *x, const float *values);
#endif
/* Back to the fleet's start; works offline and is written to flash at once where there is one. */
int acc_reset(acc_device *device);
/* Keep what was learnt: call it once a minute at most, flash wears. The other slot stays until it is whole. */
int acc_save(acc_device *device);
#if !ACC_GRADIENT
/* How much each expert says, ACC_EXPERTS shares: the start's first. */
void acc_shares(const acc_device *device, float *shares);
#endif
/* Counter of the weights in use, and their release. */
uint32_t acc_counter(const acc_device *device);
uint32_t acc_version(const acc_device *device);

/* ---- weights */

/* Bytes of flash that a device needs: two slots of weights and two of what was learnt. */
uint32_t acc_flash_bytes(uint32_t page);
/* A blob in pieces, in order, into the slot that is not in use. What is in use goes on until `finish` says ACC_OK. */
int acc_update_begin(acc_device *device, uint32_t length);
int acc_update_write(acc_device *device, const uint8_t *bytes, uint32_t count);
int acc_update_finish(acc_device *device);
/* Whether a whole blob in memory would be taken. */
int acc_check(const acc_device *device, const uint8_t *blob, uint32_t length);

/* ---- the report, in the service's wire format (JSON) */

/* Write the window as a report and begin the next. `id`: 16 random bytes. Times in Unix seconds, or 0. The bytes
 * written, or ACC_TRUNCATED where `room` is too small: then nothing was begun. ACC_REPORT_BYTES is always enough. */
enum { ACC_REPORT_BYTES = 6144 };
int32_t acc_report(acc_device *device, const uint8_t id[16], uint32_t started, uint32_t ended, char *to, uint32_t room);

#if ACC_MOMENTS
/* ---- moments, for a fleet that learns together: sums over the examples in `seen`, never an example or a label */

enum { ACC_FEWEST_SEEN = 8 };
/* What a round asks for: vectors no longer than `clip`, integers with `bits` after the point (24 at most), of `labels`
 * examples at least. ACC_MOMENT_COUNT, or why there are none. Until the next report no example is added. */
int32_t acc_moments_begin(acc_device *device, double clip, uint32_t bits, uint32_t labels);
/* `count` of them from `at` on. ACC_FRAME: nothing was begun, or there are not so many. */
int acc_moments_read(const acc_device *device, uint32_t at, uint32_t count, int32_t *to);
#endif

/* ---- the serial line to a gateway: frames of at most ACC_FRAME_BYTES, COBS with a zero between, CRC-32 */

enum { ACC_FRAME_BYTES = 512, ACC_RECENT = 16, ACC_LATE = 64 };
typedef struct {
#if ACC_CLASSES
    int32_t target[ACC_EXACT ? 2 : 1]; /* the label; of exact inputs the second is 0 */
#else
    float target[ACC_OUTPUTS + (ACC_EXACT && ACC_OUTPUTS % 2)];
#endif
    acc_real x[ACC_INPUT];
} acc_example; /* as it travels */
typedef struct {
    uint32_t check, heard; /* checksum of a frame, and how many frames there were up to it */
    int32_t told;          /* what was answered */
} acc_obeyed;
typedef struct {
    acc_device *device;
    int (*random)(void *context, uint8_t *to, uint32_t count); /* for report ids; 0 where it failed */
    void (*send)(void *context, const uint8_t *bytes, uint32_t count);
    void *context;
    uint32_t filled, report_bytes;
    int32_t told; /* what was answered last */
    acc_obeyed recent[ACC_RECENT]; /* frames that do harm where they are obeyed again */
    uint32_t next, heard; /* how many of these, and of all frames, there were */
    uint32_t example_at; /* where the example that is coming in goes on, and by which frame; 0: with a new one */
    uint8_t example_kind, example_sequence, overflow;
    uint8_t frame[ACC_FRAME_BYTES];
    union { /* one at a time */
        uint8_t bytes[sizeof(acc_example) > ACC_REPORT_BYTES ? sizeof(acc_example) : (uint32_t)ACC_REPORT_BYTES];
        acc_example example;
    } buffer;
} acc_link;
void acc_link_begin(acc_link *link, acc_device *device, int (*random)(void *, uint8_t *, uint32_t),
                    void (*send)(void *, const uint8_t *, uint32_t), void *context);
/* Take bytes from the line; answers go out by `send`. */
void acc_link_take(acc_link *link, const uint8_t *bytes, uint32_t count);

/* ---- detectors, also alone */

void acc_adwin_reset(acc_adwin *adwin);
void acc_adwin_update(acc_adwin *adwin, double x);
void acc_page_hinkley_reset(acc_page_hinkley *test);
void acc_page_hinkley_update(acc_page_hinkley *test, double x);
void acc_shift_reset(acc_shift *shift);
void acc_shift_update(acc_shift *shift, const float *features);

#ifdef __cplusplus
}
#endif
#endif
