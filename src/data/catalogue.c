/* The known data sets: what they are called, which files they are made of, what their original content is, and where to
 * get it.
 *
 * A download is listed only where its hash was computed from a file known to be byte-identical to the original. */
#include <string.h>

#include "data/data.h"

static const char *const digit_names[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
static const char *const fashion_names[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
static const char *const cifar10_names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                            "dog",      "frog",       "horse", "ship", "truck"};

static const pr_remote_file mnist_remote[] = {
    {"train-images-idx3-ubyte.gz", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
    {"train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
    {"t10k-images-idx3-ubyte.gz", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
    {"t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
};
static const char *const mnist_mirrors[] = {
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    NULL,
};
static const pr_remote_file fashion_remote[] = {
    {"train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"},
    {"train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"},
    {"t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"},
    {"t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"},
};
static const char *const fashion_mirrors[] = {
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    NULL,
};

static const char cifar10_by_hand[] =
    "unpack the original cifar-10-binary.tar.gz (www.cs.toronto.edu/~kriz/cifar.html) in $PARRY_DATA/cifar10 by hand; "
    "no download with a verified hash is known";
static const char cifar10_part[] = "no public download is known: place its files there by hand";

enum { MNIST, FASHION_MNIST, CIFAR10, CIFAR10_JPEG, CIFAR10_LOSSLESS, DIGITS, SOURCES };

static const parry_dataset_entry entries[SOURCES + 1] = {
    [MNIST] = {"mnist", "handwritten digits, 60,000 + 10,000", "1x28x28", "CC BY-SA 3.0", true},
    [FASHION_MNIST] = {"fashion-mnist", "articles of clothing, 60,000 + 10,000", "1x28x28", "MIT", true},
    [CIFAR10] = {"cifar10", "small photographs, 50,000 + 10,000; the original pixels only", "3x32x32", "none stated",
                 false},
    [CIFAR10_JPEG] = {"cifar10-jpeg", "10,000 + 10,000 of CIFAR-10, decoded from JPEG: not the original pixels",
                      "3x32x32", "none stated", false},
    [CIFAR10_LOSSLESS] = {"cifar10-lossless",
                          "the first 4,000 training images of CIFAR-10 and 300 test images, original pixels", "3x32x32",
                          "none stated", false},
    [DIGITS] = {"digits", "built-in digits drawn by parry, 60,000 + 10,000", "1x28x28", "MIT", false},
};

static const pr_source sources[SOURCES] = {
    [MNIST] =
        {
            .format = PR_FORMAT_IDX,
            .folders = {"mnist"},
            .files = {{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
                      {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}},
            .classes = 10,
            .class_names = digit_names,
            .known = {{60000, 60000, "6a364e333ea1f8ab86e4d641d64a8cf8d8644433f54b0a78e32c2b9e143672d0"},
                      {10000, 10000, "45a60edfded3b2bb860a7fd195c83431011e7f04318268b4f2de30030af9444e"}},
            .remote = mnist_remote,
            .remotes = PR_COUNT(mnist_remote),
            .mirrors = mnist_mirrors,
        },
    [FASHION_MNIST] =
        {
            .format = PR_FORMAT_IDX,
            .folders = {"fashion-mnist"},
            .files = {{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
                      {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}},
            .classes = 10,
            .class_names = fashion_names,
            .known = {{60000, 60000, "c7d8cfe8172756709eda8bbe8b201cb44f70785b4cd9974a82408b36cc1f72e4"},
                      {10000, 10000, "2589de149ea70a51076dfb7116c581fbd9b4c7b39b8e9c9f19ec089d65d659b8"}},
            .remote = fashion_remote,
            .remotes = PR_COUNT(fashion_remote),
            .mirrors = fashion_mirrors,
        },
    /* The hashes cover the images whose original pixels are known: enough to tell recompressed copies apart. */
    [CIFAR10] =
        {
            .format = PR_FORMAT_CIFAR,
            .folders = {"cifar10/cifar-10-batches-bin", "cifar10"},
            .classes = 10,
            .class_names = cifar10_names,
            .files = {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                       "data_batch_5.bin"},
                      {"test_batch.bin"}},
            .known = {{50000, 4000, "ff2282ab9a68bc047296f68df8e8a7093222b09dffec04dc00f108fb7f427a6d"},
                      {10000, 100, "0bc5d9bcf1a22b9a69dd3921562216789d0d1d74da814a1e50af2b10ee18622f"}},
            .only_known = true,
            .by_hand = cifar10_by_hand,
        },
    [CIFAR10_JPEG] =
        {
            .format = PR_FORMAT_CIFAR,
            .folders = {"cifar10/from-jpeg"},
            .files = {{"data_batch_1.bin"}, {"test_batch.bin"}},
            .classes = 10,
            .class_names = cifar10_names,
            .known = {{10000, 10000, "692b7a78bef01642681be3d1e0480060dbe5ec8f8ea9e161610e31113c4560b4"},
                      {10000, 10000, "daf094e0b08f3e2b3a57a151108df9dfc0643dc1eef9658fdb9de5ea68da705e"}},
            .note = "decoded from JPEG-recompressed images, not the original pixels",
            .by_hand = cifar10_part,
        },
    [CIFAR10_LOSSLESS] =
        {
            .format = PR_FORMAT_CIFAR,
            .folders = {"cifar10/lossless"},
            .files = {{"train_first4000.bin"}, {"test_subset300.bin"}},
            .classes = 10,
            .class_names = cifar10_names,
            .known = {{4000, 4000, "ff2282ab9a68bc047296f68df8e8a7093222b09dffec04dc00f108fb7f427a6d"},
                      {300, 300, "c6299f7da98e7435edcdf6e82ccd010f2ab7a16a63d8ce782adf97d165ef20ea"}},
            .only_known = true,
            .note = "a part of CIFAR-10 (original pixels)",
            .by_hand = cifar10_part,
        },
    [DIGITS] =
        {
            .format = PR_FORMAT_BUILT_IN,
            .classes = 10,
            .class_names = digit_names,
            .note = "digits drawn by parry itself, not MNIST",
            .by_hand = "they are built in: use --data digits",
        },
};

const parry_dataset_entry *parry_dataset_list(size_t *count)
{
    if (count)
        *count = SOURCES;
    return entries;
}

const pr_source *pr_source_at(size_t index)
{
    return index < SOURCES ? &sources[index] : NULL;
}

const pr_source *pr_source_find(const char *name)
{
    for (size_t i = 0; i < SOURCES; i++)
        if (strcmp(entries[i].name, name) == 0)
            return &sources[i];
    return NULL;
}

parry_status pr_source_unknown(parry_ctx *ctx, const char *name)
{
    const char *names[SOURCES];
    pr_text known = {0};
    char *list;
    for (size_t i = 0; i < SOURCES; i++) {
        names[i] = entries[i].name;
        pr_text_add(&known, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = parry_nearest(name, names, SOURCES);
    TRY(pr_text_take(ctx, &known, &list));
    parry_status status =
        nearest ? pr_fail(ctx, PARRY_INVALID, "%s: neither a known dataset nor a file or folder; did you mean '%s'?",
                          name, nearest)
                : pr_fail(ctx, PARRY_INVALID, "%s: neither a file or folder nor a known dataset (%s)", name, list);
    parry_string_free(list);
    return status;
}

parry_status pr_source_identify(parry_ctx *ctx, const pr_images *images, const pr_source **out)
{
    char hex[PR_SHA256_HEX];
    int64_t hashed = 0; /* images that `hex` covers */
    *out = NULL;
    for (size_t i = 0; images->bytes && i < 2 * SOURCES; i++) {
        const pr_known_content *known = &sources[i / 2].known[i % 2];
        if (!known->sha256 || images->count != known->count)
            continue;
        if (hashed != known->hashed)
            TRY(pr_images_sha256(ctx, images, known->hashed, hex));
        hashed = known->hashed;
        if (strcmp(hex, known->sha256) == 0) {
            *out = &sources[i / 2];
            return PARRY_OK;
        }
    }
    return PARRY_OK;
}

void pr_paths_free(char *paths[PR_SET_FILES])
{
    for (int i = 0; i < PR_SET_FILES; i++) {
        pr_free(paths[i]);
        paths[i] = NULL;
    }
}

parry_status pr_find_file(parry_ctx *ctx, const char *path, char **out)
{
    static const char *const endings[] = {"", ".gz"};
    for (size_t i = 0; i < PR_COUNT(endings); i++) {
        TRY(pr_asprintf(ctx, out, "%s%s", path, endings[i]));
        if (pr_file_exists(*out))
            return PARRY_OK;
        pr_free(*out);
        *out = NULL;
    }
    return PARRY_OK;
}

static parry_status find_in(parry_ctx *ctx, const char *folder, const char *name, char **out)
{
    char *path;
    TRY(pr_path_join(ctx, folder, name, &path));
    parry_status status = pr_find_file(ctx, path, out);
    pr_free(path);
    return status;
}

parry_status pr_source_files(parry_ctx *ctx, const pr_source *source, const char *folder, parry_split split,
                             char *paths[PR_SET_FILES], bool *found)
{
    const char *const *names = source->files[split];
    *found = names[0] != NULL;
    for (int i = 0; i < PR_SET_FILES; i++)
        paths[i] = NULL;
    for (int i = 0; *found && i < PR_SET_FILES && names[i]; i++) {
        parry_status status = find_in(ctx, folder, names[i], &paths[i]);
        *found = status == PARRY_OK && paths[i];
        if (!*found)
            pr_paths_free(paths);
        TRY(status);
    }
    return PARRY_OK;
}

parry_status pr_source_read(parry_ctx *ctx, const pr_source *source, char *const paths[PR_SET_FILES], pr_images *out)
{
    if (source->format == PR_FORMAT_IDX)
        return pr_idx_read(ctx, paths[0], paths[1], source->classes, out);
    int count = 0;
    while (count < PR_SET_FILES && paths[count])
        count++;
    return pr_cifar_read(ctx, paths, count, out);
}
