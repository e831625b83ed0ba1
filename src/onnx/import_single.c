/* Nodes that look inside the batch. Exporters write a transformer's attention with the batch as an axis among others:
 * moved behind the sequence, joined with the heads, and back. Such a node cannot be said of any number of images at
 * once, but it can be said of one: the tensor of a single image, batch axis of size 1 included, is one row of a value
 * with the images in front of the file's axes (slot.single). So the node is carried out on that, where every axis
 * stands one further to the right (imp->in_front; pr_axis counts so). A result whose first axis has size 1 is an
 * ordinary activation again: the two forms differ by a reshape that moves nothing.
 *
 * It is one reading, not a second one: an open batch counts as a batch of one from the start, every translation speaks
 * of ordinary activations, and only a node that would leave them comes here. A file made for a larger batch has no such
 * form: how its images lie among the values is not known.
 *
 * In a file made for a batch of one, image 0 is the image, and so are the mean and the largest over the batch. In one
 * for an open batch they are not, though it is read for one image: there such a node is missing. */
#include <string.h>

#include "onnx/import.h"

const char pr_moves_values[] = "that moves values from one image to another";

/* The value of x with the images in front of `rank` axes of the file: an ordinary activation gets its batch of 1 as an
 * axis, one of fewer axes more of size 1, as broadcasting has it. */
static parry_status put_images_in_front(importer *imp, const onnx_node *node, slot *x, int rank)
{
    const pr_shape own = pr_file_shape(imp, x);
    pr_dims to = {.rank = 1 + rank, .dim = {PR_BATCH}};
    for (int d = 0; d < rank; d++)
        to.dim[1 + d] = d < rank - own.rank ? 1 : own.dim[d - (rank - own.rank)];
    x->single = true;
    return pr_add_reshape(imp, node, to, &x->value);
}

/* A result that starts with an axis of size 1 has the batch there. */
static parry_status take_batch_back(importer *imp, const onnx_node *node, slot *x)
{
    const pr_dims from = *pr_dims_of(imp, x);
    pr_dims to = {.rank = from.rank - 1, .dim = {PR_BATCH}};
    x->single = from.rank < 3 || from.dim[1] != 1;
    if (x->single)
        return PARRY_OK;
    memcpy(to.dim + 1, from.dim + 2, (size_t)(from.rank - 2) * sizeof from.dim[0]);
    return pr_add_reshape(imp, node, to, &x->value);
}

/* With `before` a copy of the inputs, which are changed. */
static parry_status translate_in_front(importer *imp, const onnx_node *node, const slot *before, translation translate)
{
    int rank = 0;
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_is_value(&before[i]))
            rank = PR_MAX(rank, pr_file_shape(imp, &before[i]).rank);
    if (rank + 1 > PR_RANK_MAX)
        return pr_node_missing(imp, node, "of a tensor of this many axes");
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_is_value(&before[i]) && pr_node_input(imp, node, i)->value == before[i].value)
            TRY(put_images_in_front(imp, node, pr_node_input(imp, node, i), rank));
    TRY(translate(imp, node));
    for (size_t o = 0; o < node->n_output; o++) {
        slot *output = pr_node_output_at(imp, node, o);
        if (output && output->needed && output->kind == SLOT_VALUE)
            TRY(take_batch_back(imp, node, output));
    }
    return PARRY_OK;
}

parry_status pr_import_in_front(importer *imp, const onnx_node *node, translation translate)
{
    slot *before;
    TRY(pr_alloc(imp->ctx, node->n_input, &before));
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_node_input(imp, node, i))
            before[i] = *pr_node_input(imp, node, i);
    imp->inside = node;
    imp->in_front = true;
    const parry_status status = translate_in_front(imp, node, before, translate);
    imp->in_front = false;
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_is_value(&before[i])) {
            pr_node_input(imp, node, i)->value = before[i].value;
            pr_node_input(imp, node, i)->single = before[i].single;
        }
    pr_free(before);
    return status;
}

parry_status pr_import_across(importer *imp, const onnx_node *node, translation translate)
{
    return imp->batch == 1 && !imp->in_front ? pr_import_in_front(imp, node, translate)
                                             : pr_node_missing(imp, node, pr_moves_values);
}

parry_status pr_import_only_image(importer *imp, const onnx_node *node, const char *otherwise, translation translate)
{
    return imp->batch == 1 && !imp->open && !imp->in_front ? pr_import_in_front(imp, node, translate)
                                                           : pr_node_missing(imp, node, otherwise);
}
