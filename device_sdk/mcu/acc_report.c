/* The window as the service's Report, schema 1: counts and sketches, never an example. Without printf. */
#include <math.h>
#include <string.h>

#include "acc_internal.h"

enum { ZERO = -80, TOP = 120, FEWEST = 8 };
static const float MOST = 1e18f, MOST_SQUARED = 1e36f; /* that the report's schema takes */

void acc_sketch_add(acc_sketch *s, float value) {
    if (!(value < MOST)) value = MOST;
    int bucket = ZERO;
    if (value > 9.5367431640625e-07f) {
        const float place = ceilf(logf(value) * 5.77078016f); /* 4 / ln 2 */
        bucket = place < (float)ZERO ? ZERO : place > (float)TOP ? TOP : (int)place;
    }
    if (s->buckets[bucket - ZERO] == UINT16_MAX) return; /* 65,535 of one size between two reports */
    s->buckets[bucket - ZERO]++;
    s->count++;
    s->sum += value;
    s->squares += value * value;
    if (value > s->maximum) s->maximum = value;
}

typedef struct {
    char *to;
    uint32_t at, room;
} page;

static void put(page *p, char c) {
    if (p->at < p->room) p->to[p->at] = c;
    p->at++;
}
static void text(page *p, const char *t) {
    while (*t) put(p, *t++);
}
static void whole(page *p, uint32_t v) {
    char digits[10];
    int n = 0;
    do {
        digits[n++] = (char)('0' + v % 10u);
        v /= 10u;
    } while (v);
    while (n) put(p, digits[--n]);
}
static void hex(page *p, const uint8_t *bytes, int count) {
    for (int i = 0; i < count; i++) {
        put(p, "0123456789abcdef"[bytes[i] >> 4]);
        put(p, "0123456789abcdef"[bytes[i] & 15]);
    }
}
/* A number of at least 0, or `most`, with some digits, as 1.23e4. */
static void number(page *p, float v, float most, int digits) {
    int e = 0;
    uint32_t scale = 1, m;
    if (!(v > 0.0f)) {
        put(p, '0');
        return;
    }
    if (v > most) v = most; /* so that it is finite */
    for (int i = 1; i < digits; i++) scale *= 10u;
    while (v >= 10.0f) v /= 10.0f, e++;
    while (v < 1.0f) v *= 10.0f, e--;
    m = (uint32_t)(v * (float)scale + 0.5f);
    if (m >= 10u * scale) m /= 10u, e++;
    whole(p, m / scale);
    if (digits > 1) put(p, '.');
    for (uint32_t unit = scale / 10u; unit; unit /= 10u) put(p, (char)('0' + m / unit % 10u));
    put(p, 'e');
    if (e < 0) put(p, '-'), e = -e;
    whole(p, (uint32_t)e);
}
static void field(page *p, const char *name, uint32_t v) {
    text(p, ",\"");
    text(p, name);
    text(p, "\":");
    whole(p, v);
}

/* Nothing of fewer than eight examples: the loss of one names it to whoever knows the weights. */
static void summary(page *p, const char *name, const acc_sketch *s) {
    int edge = 0, first = 1;
    if (s->count < FEWEST) return;
    for (int i = 0; i < ACC_SKETCH; i++)
        if (s->buckets[i]) edge = i;
    text(p, ",\"");
    text(p, name);
    text(p, "\":{\"count\":");
    whole(p, s->count);
    text(p, ",\"sum\":");
    number(p, s->sum, MOST, 2);
    text(p, ",\"sum_of_squares\":");
    number(p, s->squares, MOST_SQUARED, 2);
    text(p, ",\"maximum\":");
    number(p, edge ? exp2f((float)(edge + ZERO) / 4.0f) : 0.0f, MOST, 6);
    text(p, ",\"sketch\":[");
    for (int i = 0; i < ACC_SKETCH; i++) {
        if (!s->buckets[i]) continue;
        if (!first) put(p, ',');
        first = 0;
        put(p, '[');
        if (i < -ZERO) put(p, '-');
        whole(p, (uint32_t)(i < -ZERO ? -ZERO - i : i + ZERO));
        put(p, ',');
        whole(p, s->buckets[i]);
        put(p, ']');
    }
    text(p, "]}");
}

static void refusals(page *p, const acc_counts *c) {
    const struct {
        const char *name;
        uint32_t count;
    } each[3] = {{"InputError", c->bad_inputs}, {"LabelError", c->bad_labels}, {"BeyondError", c->beyond}};
    int first = 1;
    text(p, ",\"refusals\":{");
    for (int i = 0; i < 3; i++) {
        if (!each[i].count) continue;
        text(p, first ? "\"" : ",\"");
        text(p, each[i].name);
        text(p, "\":");
        whole(p, each[i].count);
        first = 0;
    }
    put(p, '}');
}

int32_t acc_report(acc_device *d, const uint8_t id[16], uint32_t started, uint32_t ended, char *to, uint32_t room) {
    const acc_header *header = acc_header_of(d);
    acc_counts all = d->counts;
    const acc_counts *c = &all;
    page p;
    if (!header) return ACC_NO_WEIGHTS;
    p.to = to, p.at = 0, p.room = room;
    acc_count(&all.warnings, d->news == 1);
    acc_count(&all.drifts, d->news == 2);
    text(&p, "{\"id\":\"");
    hex(&p, id, 16);
    text(&p, "\",\"started_at\":");
    whole(&p, started);
    field(&p, "ended_at", ended < started ? started : ended);
    text(&p, ",\"release\":{\"name\":\"");
    for (const char *name = header->name; *name; name++)
        if (*name != '"' && *name != '\\' && (uint8_t)*name >= ' ') put(&p, *name);
    text(&p, "\",\"version\":");
    whole(&p, header->version);
    text(&p, ",\"content_hash\":\"");
    hex(&p, header->content_hash, 32);
    text(&p, "\"}");
    field(&p, "counter", header->counter);
    text(&p, ",\"slot\":\"");
    text(&p, d->blob == d->config.factory ? "factory" : "a");
    put(&p, '"');
    field(&p, "predictions", c->predictions);
    field(&p, "mistakes", c->mistakes);
    summary(&p, "start_loss", &d->start_loss);
    summary(&p, "adapted_loss", &d->adapted_loss);
    field(&p, "steps", c->steps);
    field(&p, "adaptations", c->adaptations);
    field(&p, "kept_starts", c->kept_starts);
    field(&p, "warnings", c->warnings);
    field(&p, "drifts", c->drifts);
    field(&p, "resets", c->resets);
    field(&p, "fallbacks", c->fallbacks);
    field(&p, "clamped", c->clamped);
    refusals(&p, c);
    put(&p, '}');
    if (p.at > room || p.at > INT32_MAX) return ACC_TRUNCATED;
    d->news = 0;
    memset(&d->counts, 0, sizeof d->counts);
#if ACC_MOMENTS
    d->asked = 0;
#endif
    /* losses of fewer than eight examples wait for the next window */
    if (d->start_loss.count >= FEWEST) memset(&d->start_loss, 0, sizeof d->start_loss);
    if (d->adapted_loss.count >= FEWEST) memset(&d->adapted_loss, 0, sizeof d->adapted_loss);
    return (int32_t)p.at;
}
