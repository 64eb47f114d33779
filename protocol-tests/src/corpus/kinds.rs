//! The kinds of values that the corpus passes around.

/// One Go type with expressions for values of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The type, as Go writes it.
    pub(super) go: &'static str,
    /// Expressions; each has its own type or converts to this one without a word.
    pub(super) values: &'static [&'static str],
}

const fn kind(go: &'static str, values: &'static [&'static str]) -> Kind {
    Kind { go, values }
}

const LONG: &str =
    "\"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_-0123456789abcdefghijklmnopqrstuvwxyz\"";
const HUGE: &str = "strings.Repeat(\"spelunk \", 50)";

/// Every kind; systematic signatures are made of each, random ones of a choice.
pub(super) const KINDS: &[Kind] = &[
    // Integers of all sizes, at their limits.
    kind("int", &["-1", "math.MaxInt64", "math.MinInt64", "0"]),
    kind("int8", &["-128", "127", "-1"]),
    kind("int16", &["-32768", "32767", "300"]),
    kind("int32", &["math.MinInt32", "math.MaxInt32", "'x'"]),
    kind("int64", &["math.MinInt64", "1 << 40", "-5"]),
    kind("uint", &["math.MaxUint64", "0", "17"]),
    kind("uint8", &["255", "0", "'a'"]),
    kind("uint16", &["65535", "1"]),
    kind("uint32", &["math.MaxUint32", "2"]),
    kind("uint64", &["math.MaxUint64", "1 << 63", "3"]),
    kind("uintptr", &["0xdeadbeef", "0"]),
    kind("bool", &["true", "false"]),
    kind("Color", &["Green", "Blue", "Color(9)", "Color(0)"]),
    kind("Tiny", &["200", "0"]),
    // Strings.
    kind(
        "string",
        &[
            "\"short\"",
            "\"\"",
            LONG,
            HUGE,
            "\"größe 日本語 ✓\"",
            "\"q\\\"uo\\nted\\x00\\xff\"",
        ],
    ),
    kind("Name", &["\"a name\"", "\"\""]),
    // Pointers.
    kind("*int", &["&anInt", "nil"]),
    kind("*string", &["&aString", "nil"]),
    kind("*bool", &["&aBool"]),
    kind("*uint8", &["&aByte"]),
    kind("*Point", &["&aPoint", "nil", "&Point{1, 2}"]),
    kind("**Point", &["&aPointer"]),
    kind("*[3]int", &["&anArray"]),
    kind("*[]string", &["&aSlice"]),
    kind("*any", &["&anInterface"]),
    kind("*Nested", &["&aStruct", "nil"]),
    kind("*Linked", &["aLink", "nil"]),
    kind("unsafe.Pointer", &["untyped", "nil"]),
    // Slices.
    kind("[]int", &["[]int{1, -2, 3}", "nil", "[]int{}", "many", "roomy"]),
    kind("[]int8", &["[]int8{-1, 2}", "nil"]),
    kind("[]int16", &["[]int16{-300, 2}"]),
    kind("[]int32", &["[]int32{'a', -70000}"]),
    kind("[]int64", &["[]int64{1 << 40}"]),
    kind("[]uint", &["[]uint{1, 2}"]),
    kind("[]uint8", &["[]byte(\"bytes\")", "nil"]),
    kind("[]uint16", &["[]uint16{65535}"]),
    kind("[]uint32", &["[]uint32{4294967295}"]),
    kind("[]uint64", &["[]uint64{18446744073709551615}"]),
    kind("[]uintptr", &["[]uintptr{4096}"]),
    kind("[]bool", &["[]bool{true, false, true}"]),
    kind(
        "[]string",
        &["manyStrings", "[]string{\"a\", \"b\"}", "nil", "[]string{}"],
    ),
    kind("Names", &["Names{\"x\"}", "nil"]),
    kind("[]*Point", &["[]*Point{&aPoint, nil}"]),
    kind("[]*int", &["[]*int{&anInt, nil}"]),
    kind("[]Point", &["[]Point{{1, 2}, {3, 4}}", "nil"]),
    kind("[]Mixed", &["[]Mixed{{1, \"one\", true}, {2, \"two\", false}}"]),
    kind("[]any", &["[]any{1, \"two\", nil, aPoint}", "nil"]),
    kind("[]error", &["[]error{base, nil}"]),
    kind("[][]int", &["[][]int{{1}, nil, {2, 3}}"]),
    kind("[]Color", &["[]Color{Red, Color(7)}"]),
    kind("[]float64", &["[]float64{1.5, -2}"]),
    kind("[][2]int16", &["[][2]int16{{1, 2}, {3, 4}}"]),
    // Arrays: of one element they travel in registers, of more on the stack.
    kind("[0]int", &["[0]int{}"]),
    kind("[1]int", &["[1]int{-9}"]),
    kind("[1]string", &["[1]string{\"only one\"}"]),
    kind("[1]Point", &["[1]Point{{8, 9}}"]),
    kind("[2]string", &["[2]string{\"first\", \"second, longer\"}"]),
    kind("[3]uint8", &["[3]uint8{1, 2, 255}"]),
    kind("[5]int", &["[5]int{1, 2, 3, 4, 5}"]),
    kind("[2]any", &["[2]any{1, nil}"]),
    kind("[2]*Point", &["[2]*Point{&aPoint, nil}"]),
    kind("[2]Mixed", &["[2]Mixed{{1, \"x\", true}, {}}"]),
    // Structures.
    kind("Empty", &["Empty{}"]),
    kind("One", &["One{11}"]),
    kind("OnePointer", &["OnePointer{&aPoint}", "OnePointer{}"]),
    kind("Point", &["Point{1, -2}", "Point{}"]),
    kind("Mixed", &["Mixed{-3, \"mixed\", true}"]),
    kind("Packed", &["Packed{1, 2, 3, 4}"]),
    kind("Blank", &["Blank{A: 5, B: 6}"]),
    kind("Nested", &["Nested{Point{1, 2}, \"n\"}"]),
    kind("Wide", &["Wide{1, \"two\", 3, true, []int{5}, 6}"]),
    kind(
        "Holder",
        &[
            "Holder{[]string{\"h\"}, [2]int{1, 2}, map[string]int{\"k\": 1}}",
            "Holder{}",
        ],
    ),
    kind("Linked", &["*aLink"]),
    kind(
        "Carrier",
        &[
            "Carrier{base, 5, Square{2}}",
            "Carrier{}",
            "Carrier{&PointerError{3}, &aPoint, aCircle}",
        ],
    ),
    kind("Deep", &["aDeep"]),
    kind(
        "Doubly",
        &["Doubly{Mixed{1, \"e\", false}, &aPoint, callback}", "Doubly{}"],
    ),
    kind(
        "struct { A int; B string }",
        &["struct { A int; B string }{1, \"anonymous\"}"],
    ),
    kind("Pair[string, int]", &["Pair[string, int]{\"k\", 5}"]),
    // Interfaces.
    kind(
        "error",
        &[
            "base",
            "wrapped",
            "CodeError{5, \"five\"}",
            "&PointerError{6}",
            "TextError(\"text\")",
            "nil",
        ],
    ),
    kind(
        "any",
        &[
            "nil",
            "int8(-5)",
            "uint64(99)",
            "true",
            "\"a string\"",
            "aPoint",
            "&aPoint",
            "[]int{1, 2}",
            "[2]int{3, 4}",
            "Red",
            "base",
            "Empty{}",
            "One{12}",
            "OnePointer{&aPoint}",
            "map[string]int{\"one\": 1}",
            "callback",
            "2.5",
            "Nested{Point{1, 2}, \"in any\"}",
            "(*Point)(nil)",
            "[]string{\"s\"}",
        ],
    ),
    kind("Shape", &["Square{3}", "aCircle", "Meters(7)", "nil"]),
    kind("fmt.Stringer", &["nil"]),
    // Functions, maps, channels.
    kind("func(int) string", &["callback", "nil"]),
    kind("func()", &["plain"]),
    kind(
        "map[string]int",
        &["map[string]int{\"k\": 9}", "map[string]int{}", "nil"],
    ),
    kind("map[int]Point", &["map[int]Point{1: {2, 3}}"]),
    kind("chan int", &["aChannel", "nil"]),
    // Floating point: a probe sees no vector registers.
    kind("float32", &["1.5", "float32(0.1)"]),
    kind("float64", &["-2.25", "math.Inf(1)", "math.NaN()"]),
    kind("complex64", &["complex(1, -2)"]),
    kind("complex128", &["complex(0.5, 3)"]),
    kind("Floats", &["Floats{1.5, 2.5}"]),
    kind("[1]float64", &["[1]float64{6.5}"]),
];

/// Types that methods are generated on, with receivers for them: the receiver's type and its values.
pub(super) const RECEIVERS: &[Kind] = &[
    kind("Point", &["Point{1, 2}"]),
    kind("*Point", &["&aPoint"]),
    kind("Mixed", &["Mixed{4, \"receiver\", true}"]),
    kind("*Nested", &["&aStruct"]),
    kind("Color", &["Green"]),
    kind("Name", &["Name(\"the receiver\")"]),
    kind("Names", &["Names{\"r\", \"s\"}"]),
    kind("Wide", &["Wide{1, \"w\", 2, false, nil, 3}"]),
    kind("Empty", &["Empty{}"]),
    kind("*Linked", &["aLink"]),
];
