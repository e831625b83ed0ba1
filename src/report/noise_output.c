/* A noise study as text, CSV, JSON and a picture.
 *
 * JSON: shares and confidences are fractions; `images` is in the order of the images' numbers.
 *
 *   version, seed
 *   noise     {mu, sigma, pairs, chapter_order, count}
 *   attack    {label, norm, eps, loss, criterion, target}       or null
 *   networks  [{name, sha256, channels, height, width, classes,
 *               clean:    {over_50, over_90, mean_confidence, called: [{class, name, count}], images: [{id, mu, sigma,
 * class, name, confidence}]}, attacked: the same, or null}]
 */
#include <stdio.h>
#include <string.h>

#include <parry/classes.h>
#include <parry/figure.h>

#include "base/json.h"
#include "report/noise.h"
#include "report/report.h"
#include "space/space.h"

enum { NAME_WIDTH = 28, CALLED_WIDTH = 26, SHOWN_IMAGES = 20, SHOWN_CLASSES = 4, COLUMNS_MOST = 50, TOLD_BEFORE = 60 };

static int views(const parry_noise_study *study)
{
    return study->attack ? 2 : 1;
}

static const char *pairs_name(const parry_noise_study *study)
{
    return parry_options_find(parry_noise_options(), "pairs")->choices[study->settings.pairs];
}

int pr_noise_ranking(const pr_noise_network *network, const pr_noise_view *view, int most, int *classes)
{
    int found = 0;
    for (int k = 0; k < network->info->classes; k++) {
        found += view->called[k] > 0;
        if (view->called[k] == 0)
            continue;
        int at = PR_MIN(found, most) - 1;
        if (found > most && view->called[k] <= view->called[classes[at]])
            continue;
        for (; at > 0 && view->called[k] > view->called[classes[at - 1]]; at--)
            classes[at] = classes[at - 1];
        classes[at] = k;
    }
    return found;
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* A name that is too long loses its middle: both ends tell files apart. */
static const char *short_name(const char *name, int width, char text[64])
{
    int length = (int)strlen(name), tail = (width - 3) / 2;
    if (length <= width)
        return name;
    snprintf(text, 64, "%.*s...%s", width - 3 - tail, name, name + length - tail);
    return text;
}

static void add_called(pr_text *out, const pr_noise_network *network, const pr_noise_view *view)
{
    int classes[SHOWN_CLASSES], found = pr_noise_ranking(network, view, SHOWN_CLASSES, classes);
    char name[PARRY_CLASS_NAME_ROOM];
    for (int i = 0; i < PR_MIN(found, SHOWN_CLASSES); i++)
        pr_text_add(out, "%s%s %d", i ? ", " : "", parry_class_name(network->model, classes[i], name),
                    view->called[classes[i]]);
    if (found > SHOWN_CLASSES)
        pr_text_add(out, ", %d more", found - SHOWN_CLASSES);
}

static void add_summary(pr_text *out, const parry_noise_study *study)
{
    char name[64], over_50[PR_NUMBER_TEXT], over_90[PR_NUMBER_TEXT];
    pr_text_add(out, "\n%-*s  %-8s  %8s  %8s  %s\n", NAME_WIDTH, "network", "attack", "> 50 %", "> 90 %",
                "classes called most");
    for (int i = 0; i < study->network_count; i++)
        for (int v = 0; v < views(study); v++) {
            const pr_noise_network *network = &study->networks[i];
            pr_text_add(out, "%-*s  %-8s  %8s  %8s  ", NAME_WIDTH,
                        v ? "" : short_name(network->info->name, NAME_WIDTH, name), v ? study->attack : "none",
                        pr_percent_words(network->view[v].over_50, over_50),
                        pr_percent_words(network->view[v].over_90, over_90));
            add_called(out, network, &network->view[v]);
            pr_text_add(out, "\n");
        }
}

/* "mountain tent 23.1 %" in a column. */
static void add_prediction(pr_text *out, const pr_noise_network *network, const pr_noise_view *view, int64_t tile)
{
    char name[PARRY_CLASS_NAME_ROOM];
    double confidence;
    int called = pr_noise_called(network, view, tile, &confidence);
    pr_text_add(out, "  %-*.*s %5.1f %%", CALLED_WIDTH - 9, CALLED_WIDTH - 9,
                parry_class_name(network->model, called, name), 100 * confidence);
}

static void add_images(pr_text *out, const parry_noise_study *study)
{
    char name[64];
    pr_text_add(out, "\n%5s %6s %6s", "image", "mu", "sigma");
    for (int i = 0; i < study->network_count; i++)
        for (int v = 0; v < views(study); v++)
            pr_text_add(out, "  %-*s", i == study->network_count - 1 && v == views(study) - 1 ? 0 : CALLED_WIDTH - 1,
                        v ? study->attack : short_name(study->networks[i].info->name, CALLED_WIDTH - 1, name));
    for (int64_t t = 0; t < study->count; t++) {
        pr_text_add(out, "\n%5lld %6g %6g", (long long)t, study->mu[t], study->sigma[t]);
        for (int i = 0; i < study->network_count; i++)
            for (int v = 0; v < views(study); v++)
                add_prediction(out, &study->networks[i], &study->networks[i].view[v], t);
    }
    pr_text_add(out, "\n");
}

/* "Gaussian noise, mean 50:200:10 and deviation 10:100:2 (zip, 15 images)" */
static void add_what(pr_text *out, const parry_noise_study *study)
{
    char count[PR_NUMBER_TEXT];
    pr_text_add(out, "Gaussian noise, mean %s, deviation %s (%s: %s image%s)", study->settings.mu,
                study->settings.sigma, pairs_name(study), pr_count_words(study->count, count),
                study->count == 1 ? "" : "s");
    if (study->settings.chapter_order)
        pr_text_add(out, ", clipped after preprocessing");
}

/* "PGD-40, linf eps 0.0157 (4/255), criterion confident:0.9" */
static void add_attack(pr_text *out, const parry_noise_study *study)
{
    const parry_threat *threat = &study->threat;
    pr_text_add(out, "%s, %s eps %.4g (%.4g/255)", study->attack, pr_norm_names[threat->norm], threat->eps,
                255 * threat->eps);
    if (threat->criterion)
        pr_text_add(out, ", criterion %s", threat->criterion);
    if (threat->target)
        pr_text_add(out, ", target %s", threat->target);
}

parry_status parry_noise_text(parry_ctx *ctx, const parry_noise_study *study, char **out)
{
    pr_text text = {0};
    add_what(&text, study);
    if (study->attack) {
        pr_text_add(&text, "\n");
        add_attack(&text, study);
    }
    pr_text_add(&text, "\n");
    add_summary(&text, study);
    if (study->count <= SHOWN_IMAGES)
        add_images(&text, study);
    return pr_text_take(ctx, &text, out);
}

/* ---- CSV -------------------------------------------------------------------------------------------------------- */

/* A field as RFC 4180 wants it: in quotes where it has a comma, a quote or a line break. */
static void add_field(pr_text *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        pr_text_add(out, "%s", text);
        return;
    }
    pr_text_add(out, "\"");
    for (; *text; text++)
        pr_text_add(out, *text == '"' ? "\"\"" : "%c", *text);
    pr_text_add(out, "\"");
}

static void csv_image(pr_text *out, const parry_noise_study *study, const pr_noise_network *network, int v,
                      int64_t tile, int *top)
{
    const int classes = network->info->classes, count = (int)PR_MIN(study->settings.top, classes);
    const float *row = network->view[v].probabilities + tile * classes;
    char name[PARRY_CLASS_NAME_ROOM];
    parry_top_classes(row, classes, count, top);
    for (int i = 0; i < count; i++) {
        pr_text_add(out, "%lld,", (long long)tile);
        add_field(out, parry_class_name(network->model, top[i], name));
        pr_text_add(out, ",%.9g,%.10g,%.10g", (double)row[top[i]], study->sigma[tile], study->mu[tile]);
        if (study->network_count > 1 || study->attack) {
            pr_text_add(out, ",");
            add_field(out, network->info->name);
            pr_text_add(out, ",");
            add_field(out, v ? study->attack : "none");
        }
        pr_text_add(out, "\n");
    }
}

parry_status parry_noise_csv(parry_ctx *ctx, const parry_noise_study *study, char **out)
{
    pr_text text = {0};
    pr_text_add(&text, "id,class,prediction,sigma,mu%s\n",
                study->network_count > 1 || study->attack ? ",network,attack" : "");
    for (int i = 0; i < study->network_count; i++) {
        int *top;
        parry_status status = pr_alloc(ctx, study->networks[i].info->classes, &top);
        if (status != PARRY_OK) {
            pr_text_clear(&text);
            return status;
        }
        for (int v = 0; v < views(study); v++)
            for (int64_t t = 0; t < study->count; t++)
                csv_image(&text, study, &study->networks[i], v, t, top);
        pr_free(top);
    }
    return pr_text_take(ctx, &text, out);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static json_t *called_json(parry_ctx *ctx, const pr_noise_network *network, const pr_noise_view *view)
{
    char name[PARRY_CLASS_NAME_ROOM];
    int *classes;
    if (pr_alloc(ctx, network->info->classes, &classes) != PARRY_OK)
        return NULL;
    json_t *list = json_array();
    int found = pr_noise_ranking(network, view, network->info->classes, classes);
    for (int i = 0; i < found; i++)
        pr_json_append(&list, json_pack("{s:i, s:s, s:i}", "class", classes[i], "name",
                                        parry_class_name(network->model, classes[i], name), "count",
                                        view->called[classes[i]]));
    pr_free(classes);
    return list;
}

static json_t *images_json(const parry_noise_study *study, const pr_noise_network *network, const pr_noise_view *view)
{
    char name[PARRY_CLASS_NAME_ROOM];
    json_t *list = json_array();
    for (int64_t t = 0; t < study->count; t++) {
        double confidence;
        int called = pr_noise_called(network, view, t, &confidence);
        pr_json_append(&list, json_pack("{s:I, s:f, s:f, s:i, s:s, s:f}", "id", (json_int_t)t, "mu", study->mu[t],
                                        "sigma", study->sigma[t], "class", called, "name",
                                        parry_class_name(network->model, called, name), "confidence", confidence));
    }
    return list;
}

static json_t *view_json(parry_ctx *ctx, const parry_noise_study *study, const pr_noise_network *network, int v)
{
    const pr_noise_view *view = &network->view[v];
    if (v >= views(study))
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:o, s:o}", "over_50", view->over_50, "over_90", view->over_90, "mean_confidence",
                     view->mean, "called", called_json(ctx, network, view), "images",
                     images_json(study, network, view));
}

static json_t *networks_json(parry_ctx *ctx, const parry_noise_study *study)
{
    json_t *list = json_array();
    for (int i = 0; i < study->network_count; i++) {
        const pr_noise_network *network = &study->networks[i];
        json_t *one =
            json_pack("{s:s, s:s?, s:i, s:i, s:i, s:i, s:o, s:o}", "name", network->info->name, "sha256",
                      network->info->sha256, "channels", network->info->channels, "height", network->info->height,
                      "width", network->info->width, "classes", network->info->classes, "clean",
                      view_json(ctx, study, network, 0), "attacked", view_json(ctx, study, network, 1));
        pr_json_append(&list, one);
    }
    return list;
}

static json_t *attack_json(const parry_noise_study *study)
{
    const parry_threat *threat = &study->threat;
    if (!study->attack)
        return json_null();
    return json_pack("{s:s, s:s, s:f, s:s, s:s?, s:s?}", "label", study->attack, "norm", pr_norm_names[threat->norm],
                     "eps", threat->eps, "loss", parry_loss_list()[threat->loss], "criterion", threat->criterion,
                     "target", threat->target);
}

parry_status parry_noise_json(parry_ctx *ctx, const parry_noise_study *study, char **out)
{
    json_t *noise =
        json_pack("{s:s, s:s, s:s, s:b, s:I}", "mu", study->settings.mu, "sigma", study->settings.sigma, "pairs",
                  pairs_name(study), "chapter_order", study->settings.chapter_order, "count", (json_int_t)study->count);
    json_t *json = json_pack("{s:s, s:I, s:o, s:o, s:o}", "version", parry_version(), "seed", (json_int_t)study->seed,
                             "noise", noise, "attack", attack_json(study), "networks", networks_json(ctx, study));
    if (!json)
        return pr_fail(ctx, PARRY_NO_MEMORY, "out of memory for the results as JSON");
    parry_status status = pr_json_text(ctx, json, out);
    json_decref(json);
    return status;
}

/* ---- the figure ------------------------------------------------------------------------------------------------- */

/* What stands below the pictures, kept until they are drawn. */
typedef struct words {
    char heading[256], caption[PARRY_CLASS_NAME_ROOM + 96], note[96];
} words;

static void tile_words(const parry_noise_study *study, const pr_noise_network *network, int64_t tile, words *out)
{
    char name[PARRY_CLASS_NAME_ROOM];
    double confidence;
    int shown = views(study) - 1, called = pr_noise_called(network, &network->view[shown], tile, &confidence);
    snprintf(out->caption, sizeof out->caption, "%.100s", parry_class_name(network->model, called, name));
    snprintf(out->note, sizeof out->note, "%.1f %%\n\xce\xbc %g \xcf\x83 %g", 100 * confidence, study->mu[tile],
             study->sigma[tile]);
    if (!shown || study->count > TOLD_BEFORE)
        return;
    called = pr_noise_called(network, &network->view[0], tile, &confidence);
    snprintf(out->note + strlen(out->note), sizeof out->note - strlen(out->note), "\nwas %.40s %.1f %%",
             parry_class_name(network->model, called, name), 100 * confidence);
}

static void heading_words(const parry_noise_study *study, const pr_noise_network *network, words *out)
{
    const pr_noise_view *view = &network->view[views(study) - 1];
    snprintf(out->heading, sizeof out->heading,
             "%.100s\nmore than 50 %% sure: %.1f %% of the images\nmore than 90 %% sure: %.1f %%", network->info->name,
             100 * view->over_50, 100 * view->over_90);
}

static void fill_group(const parry_noise_study *study, const pr_noise_network *network, words *text, parry_tile *tiles,
                       parry_tile_group *group)
{
    const int64_t row = (int64_t)network->info->channels * network->tile_height * network->tile_width;
    heading_words(study, network, text);
    *group = (parry_tile_group){text->heading, tiles, study->count};
    for (int64_t t = 0; t < study->count; t++) {
        tile_words(study, network, t, &text[t]);
        tiles[t] = (parry_tile){network->tiles + t * row, network->info->channels, network->tile_height,
                                network->tile_width,      text[t].caption,         text[t].note};
    }
}

static void subtitle_words(const parry_noise_study *study, pr_text *out)
{
    bool cut = false;
    add_what(out, study);
    if (study->attack) {
        pr_text_add(out, " after ");
        add_attack(out, study);
    }
    for (int i = 0; i < study->network_count; i++)
        cut |= study->networks[i].tile_height < study->networks[i].info->height ||
               study->networks[i].tile_width < study->networks[i].info->width;
    if (cut)
        pr_text_add(out, ". Shown: the centre %d \xc3\x97 %d pixels of each", study->networks[0].tile_width,
                    study->networks[0].tile_height);
    pr_text_add(out, ".");
}

static parry_status draw(parry_ctx *ctx, const parry_noise_study *study, const char *title, const char *path,
                         words *text, parry_tile *tiles, parry_tile_group *groups)
{
    pr_text subtitle = {0};
    char *line;
    for (int i = 0; i < study->network_count; i++)
        fill_group(study, &study->networks[i], text + i * study->count, tiles + i * study->count, &groups[i]);
    subtitle_words(study, &subtitle);
    TRY(pr_text_take(ctx, &subtitle, &line));
    /* A grid that is not too broad has a row for each mean. */
    const bool by_mean = study->settings.pairs == PARRY_PAIRS_GRID && study->sigmas <= COLUMNS_MOST;
    const parry_tiles figure = {.size = sizeof figure,
                                .title = title,
                                .subtitle = line,
                                .groups = groups,
                                .group_count = study->network_count,
                                .columns = by_mean ? (int)study->sigmas : 0,
                                .side = (int)study->settings.side};
    parry_status status = parry_figure_tiles(ctx, &figure, path);
    pr_free(line);
    return status;
}

parry_status parry_noise_figure(parry_ctx *ctx, const parry_noise_study *study, const char *title, const char *path)
{
    words *text = NULL;
    parry_tile *tiles = NULL;
    parry_tile_group *groups = NULL;
    parry_status status = pr_alloc(ctx, study->network_count * study->count, &text);
    if (status == PARRY_OK)
        status = pr_alloc(ctx, study->network_count * study->count, &tiles);
    if (status == PARRY_OK)
        status = pr_alloc(ctx, study->network_count, &groups);
    if (status == PARRY_OK)
        status = draw(ctx, study, title, path, text, tiles, groups);
    pr_free(text);
    pr_free(tiles);
    pr_free(groups);
    return status;
}
