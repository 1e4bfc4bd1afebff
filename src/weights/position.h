/* Position embeddings for another grid of patches. */
#ifndef DVIT_WEIGHTS_POSITION_H
#define DVIT_WEIGHTS_POSITION_H

/* A grid of patches, row-major. */
struct dvit_grid {
    int rows, columns; /* ≥ 1 */
};

/* Bicubic interpolation as torch.nn.functional.interpolate(mode="bicubic", align_corners=False)
 * does it, without antialiasing: A = −0.75, source = (i + 0.5)·from/to − 0.5, taps beyond the edge
 * repeat it. Patches only: rows of prefix tokens are the caller's to copy. */
void dvit_position_resize(float *out /* [to.rows·to.columns][dim] */, struct dvit_grid to,
                          const float *in /* [from.rows·from.columns][dim] */,
                          struct dvit_grid from, int dim);

/* The same as interpolate(…, antialias=True) does it, which timm uses: A = −0.5, and the kernel
 * widens where the grid shrinks; taps beyond the edge are left out and the others' weights scaled
 * to a sum of 1. */
void dvit_position_resize_antialiased(float *out /* [to.rows·to.columns][dim] */,
                                      struct dvit_grid to,
                                      const float *in /* [from.rows·from.columns][dim] */,
                                      struct dvit_grid from, int dim);

#endif
