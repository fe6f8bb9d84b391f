//===- LayerReasons.h - why a layer loses accuracy -------------------------===//
#ifndef NIBBLE_CALIB_METRICS_LAYERREASONS_H
#define NIBBLE_CALIB_METRICS_LAYERREASONS_H

#include "lib/Quant/Statistics.h"
#include "lib/Report/Report.h"
#include "mlir/IR/Operation.h"

namespace nibble::calib {

/// Fills in the bits that layer `op` works on, and the likeliest reason of its error: values that are
/// clipped, outliers on few bits, few bits. `measured` is the layer's result, rounded where it has a
/// quantizer.
void explainLayer(mlir::Operation *op, mlir::Value measured, const quant::Statistics *statistics,
                  report::LayerError &row);

} // namespace nibble::calib

#endif
