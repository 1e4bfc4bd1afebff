/* Layouts: memory and their common counts. Which rows a policy keeps is decided by operators. */
#include "graph/layouts.h"

void dvit_layouts_take(struct dvit_layout *layout, const struct dvit_graph *graph, int max_images,
                       struct dvit_arena *arena)
{
    size_t images = (size_t)max_images;
    for (int i = 0; i < graph->layouts; i++) {
        size_t tokens = (size_t)(dvit_graph_patches(graph, i) + graph->prefix);
        int *offset = dvit_arena_take(arena, images + 1, sizeof *offset);
        int *token = dvit_graph_decides(graph, i)
                         ? dvit_arena_take(arena, images * tokens, sizeof *token)
                         : NULL;
        if (layout)
            layout[i] = (struct dvit_layout){offset, token};
    }
}

void dvit_layouts_begin(struct dvit_layout *layout, const struct dvit_graph *graph, int images)
{
    for (int i = 0; i < graph->layouts; i++)
        for (int image = 0; image <= images; image++)
            layout[i].offset[image] = image * (dvit_graph_patches(graph, i) + graph->prefix);
}
