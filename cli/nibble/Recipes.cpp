//===- Recipes.cpp - nibble recipes ----------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Recipe/Recipe.h"
#include "lib/Support/Configs.h"
#include "lib/Support/Error.h"
#include "lib/Target/Target.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

namespace nibble::cli {

static llvm::Error listRecipes() {
  // Without any recipe something is wrong with the installation, which this error explains.
  if (llvm::Expected<std::string> folder = findConfigFolder(); !folder)
    return folder.takeError();
  std::vector<std::string> names = Recipe::listNames();
  size_t width = 0;
  for (const std::string &name : names)
    width = std::max(width, name.size());
  for (const std::string &name : names) {
    llvm::Expected<Recipe> recipe = Recipe::load(name);
    if (!recipe)
      return recipe.takeError();
    llvm::outs() << llvm::left_justify(name, static_cast<unsigned>(width) + 2) << recipe->description << '\n';
  }
  return llvm::Error::success();
}

static llvm::Error printRecipe(llvm::StringRef name) {
  llvm::Expected<Recipe> recipe = Recipe::load(name);
  if (!recipe)
    return recipe.takeError();
  llvm::outs() << recipe->toYAML();
  return llvm::Error::success();
}

void registerRecipesCommand(CLI::App &app, int &exitCode) {
  auto name = std::make_shared<std::string>();
  CLI::App *command = app.add_subcommand("recipes", "List the recipes, or print one as resolved");
  command->add_option("recipe", *name, "Recipe name or a .yaml file");
  command->callback([name, &exitCode] {
    exitCode = reportError(name->empty() ? listRecipes() : printRecipe(*name), llvm::errs());
  });
}

} // namespace nibble::cli
