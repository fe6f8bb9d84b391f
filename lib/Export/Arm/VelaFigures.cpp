#include "lib/Export/Arm/VelaFigures.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/StringMap.h"
#include <cmath>

namespace nibble::arm {

namespace {
/// A table with a line of column names. Cells hold no comma: our files have none in names of tensors.
class Table {
public:
  static llvm::Expected<Table> parse(llvm::StringRef text, llvm::StringRef what) {
    Table table;
    llvm::SmallVector<llvm::StringRef> lines;
    text.split(lines, '\n', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
    for (llvm::StringRef line : lines) {
      llvm::SmallVector<llvm::StringRef> cells;
      line.rtrim('\r').split(cells, ',');
      if (table.columns.empty()) {
        for (auto [index, name] : llvm::enumerate(cells))
          table.columns[name.trim()] = index;
        table.width = cells.size();
        continue;
      }
      if (cells.size() != table.width)
        return makeError(ErrorKind::Unsupported, "wanted " + llvm::Twine(table.width) + " cells in a line of Vela's " +
                                                     what + ", found " + llvm::Twine(cells.size()));
      table.rows.push_back(std::move(cells));
    }
    if (table.rows.empty())
      return makeError(ErrorKind::Unsupported, "Vela's " + what + " is empty");
    table.what = what.str();
    return table;
  }

  size_t size() const { return rows.size(); }
  llvm::Error readText(size_t row, llvm::StringRef column, std::string &result) const {
    auto found = columns.find(column);
    if (found == columns.end())
      return makeError(ErrorKind::Unsupported, "Vela's " + what + " has no column '" + column + "'");
    result = rows[row][found->second].trim().str();
    return llvm::Error::success();
  }
  llvm::Error readNumber(size_t row, llvm::StringRef column, double &result) const {
    std::string text;
    if (llvm::Error error = readText(row, column, text))
      return error;
    if (llvm::StringRef(text).getAsDouble(result) || !std::isfinite(result) || result < 0)
      return makeError(ErrorKind::Unsupported, "wanted a number of at least 0 in column '" + column + "' of Vela's " +
                                                   what + ", found '" + text + "'");
    return llvm::Error::success();
  }
  /// A number times `unit`, rounded.
  llvm::Error readCount(size_t row, llvm::StringRef column, uint64_t &result, double unit = 1) const {
    double number = 0;
    if (llvm::Error error = readNumber(row, column, number))
      return error;
    result = static_cast<uint64_t>(std::llround(std::min(number * unit, 9e18)));
    return llvm::Error::success();
  }

private:
  llvm::StringMap<size_t> columns;
  size_t width = 0;
  std::vector<llvm::SmallVector<llvm::StringRef>> rows;
  std::string what;
};
} // namespace

static constexpr double kibibyte = 1024;

static llvm::Error readSummary(const Table &table, VelaFigures &figures) {
  struct Count {
    llvm::StringLiteral column;
    uint64_t *field;
    double unit = 1;
  };
  uint64_t onChip = 0, offChip = 0, onChipTraffic = 0, offChipTraffic = 0, onChipCycles = 0, offChipCycles = 0;
  const Count counts[] = {{"cycles_total", &figures.cycles},
                          {"cycles_npu", &figures.npuCycles},
                          {"cycles_sram_access", &figures.sramCycles},
                          {"cycles_dram_access", &figures.dramCycles},
                          {"cycles_on_chip_flash_access", &onChipCycles},
                          {"cycles_off_chip_flash_access", &offChipCycles},
                          {"sram_memory_used", &figures.sramBytes, kibibyte},
                          {"dram_memory_used", &figures.dramBytes, kibibyte},
                          {"on_chip_flash_memory_used", &onChip, kibibyte},
                          {"off_chip_flash_memory_used", &offChip, kibibyte},
                          {"sram_total_bytes", &figures.sramTrafficBytes},
                          {"dram_total_bytes", &figures.dramTrafficBytes},
                          {"on_chip_flash_total_bytes", &onChipTraffic},
                          {"off_chip_flash_total_bytes", &offChipTraffic},
                          {"total_original_weights", &figures.originalWeightBytes},
                          {"total_npu_encoded_weights", &figures.encodedWeightBytes},
                          {"nn_macs", &figures.multiplyAccumulates}};
  for (const Count &count : counts)
    if (llvm::Error error = table.readCount(0, count.column, *count.field, count.unit))
      return error;
  figures.flashBytes = onChip + offChip;
  figures.flashTrafficBytes = onChipTraffic + offChipTraffic;
  figures.flashCycles = onChipCycles + offChipCycles;
  if (llvm::Error error = table.readNumber(0, "core_clock", figures.clockHertz))
    return error;
  return table.readNumber(0, "inference_time", figures.inferenceSeconds);
}

static llvm::Expected<VelaOperator> readOperator(const Table &table, size_t row) {
  VelaOperator op;
  std::pair<llvm::StringLiteral, std::string *> texts[] = {{"Name", &op.tensor},
                                                           {"Original Operator", &op.original},
                                                           {"NNG Operator", &op.operation},
                                                           {"Target", &op.target}};
  for (auto &[column, field] : texts)
    if (llvm::Error error = table.readText(row, column, *field))
      return std::move(error);
  std::pair<llvm::StringLiteral, uint64_t *> counts[] = {{"Op Cycles", &op.cycles},
                                                         {"NPU", &op.npuCycles},
                                                         {"SRAM AC", &op.sramCycles},
                                                         {"DRAM AC", &op.dramCycles},
                                                         {"MAC Count", &op.multiplyAccumulates}};
  for (auto &[column, field] : counts)
    if (llvm::Error error = table.readCount(row, column, *field))
      return std::move(error);
  return op;
}

/// The number in a line "CPU operators = 0 (0.0%)".
static llvm::Error readPrinted(llvm::StringRef printed, llvm::StringRef name, int64_t &result) {
  auto [before, after] = printed.split((name + " = ").str());
  if (after.consumeInteger(10, result) || result < 0)
    return makeError(ErrorKind::Unsupported, "Vela did not print its number of '" + name + "'");
  return llvm::Error::success();
}

llvm::Expected<VelaFigures> parseVelaFigures(llvm::StringRef summaryCsv, llvm::StringRef layersCsv,
                                             llvm::StringRef printed) {
  VelaFigures figures;
  llvm::Expected<Table> summary = Table::parse(summaryCsv, "summary");
  if (!summary)
    return summary.takeError();
  if (llvm::Error error = readSummary(*summary, figures))
    return std::move(error);
  if (llvm::Error error = readPrinted(printed, "CPU operators", figures.operatorsOnCpu))
    return std::move(error);
  if (llvm::Error error = readPrinted(printed, "NPU operators", figures.operatorsOnNpu))
    return std::move(error);
  llvm::Expected<Table> layers = Table::parse(layersCsv, "table of layers");
  if (!layers)
    return layers.takeError();
  for (size_t row = 0; row < layers->size(); ++row) {
    llvm::Expected<VelaOperator> op = readOperator(*layers, row);
    if (!op)
      return op.takeError();
    figures.operators.push_back(std::move(*op));
  }
  return figures;
}

} // namespace nibble::arm
