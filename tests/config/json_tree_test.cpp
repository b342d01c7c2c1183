#include "config/json_tree.h"

#include <gtest/gtest.h>

#include "io/error.h"

namespace temper {
namespace {

TEST(JsonTree, KeepsOrderKindsAndPlaces) {
  std::vector<std::string> problems;
  const JsonNode root = read_json_tree("{\n  \"b.c\": [1, {\"x\": 2.5},\n    [true]],  // comment\n  \"a\": null }", "f", problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(to_json_text(root), "{\"b.c\": [1, {\"x\": 2.5}, [true]], \"a\": null}");
  const JsonNode& list = *root.find("b.c");
  EXPECT_EQ(list.where, "f:2:3");
  EXPECT_EQ(list.children[0].where, "f:2:3");
  EXPECT_EQ(list.children[1].where, "f:2:14");
  EXPECT_EQ(list.children[1].find("x")->where, "f:2:15");
  EXPECT_EQ(list.children[2].where, "f:3:5");
  EXPECT_EQ(root.find("a")->where, "f:4:3");
  EXPECT_EQ(root.find("x"), nullptr);
}

TEST(JsonTree, KeysTwiceInOneObjectAreToldAndInTwoObjectsNot) {
  std::vector<std::string> problems;
  read_json_tree("{\"a\": [{\"x\": 1}, {\"x\": 2}],\n \"b\": {\"x\": 1, \"x\": 2}}", "f", problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0], "f:2:16: the key \"x\" stands at f:2:8 already; keep one");
}

TEST(JsonTree, ListsAreNestedToTheSameDepthAsObjects) {
  std::vector<std::string> problems;
  EXPECT_NO_THROW(read_json_tree("{\"a\": [[[[[[[1]]]]]]]}", "f", problems));
  EXPECT_THROW(read_json_tree("{\"a\": [[[[[[[[1]]]]]]]]}", "f", problems), Error);
}

}  // namespace
}  // namespace temper
