package main

// What a line of `spelunk trace` must read, said by the traced program itself: every call is written to standard
// output, as one line of JSON, with the text of each value at verbosity 0 and 4. The texts are made here from the
// values, by reflection, so they owe nothing to a debugger's reading of memory.
//
// An address that the program cannot know, because it is where the compiler keeps a value that was passed, is
// written as unknownAddress.

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

const unknownAddress = "0x?"

// The limits that one verbosity puts on how much of a value is shown.
type limits struct {
	strings, elements, fields, depth int
	follow                           bool // pointers are followed
	lines                            bool // long values take several lines
}

var verbosities = map[string]limits{
	"0": {strings: 64, elements: 0, fields: 3, depth: 0},
	"4": {strings: 256, elements: 100, fields: math.MaxInt, depth: 3, follow: true, lines: true},
}

// One value on its way to text.
type shown struct {
	v      reflect.Value
	level  int  // how deep in structures it lies, as the limits count
	placed bool // it lies where the program knows, on the heap
}

// Where and how it is written.
type style struct {
	top, typed, lines bool
	indent            string
}

type printer struct {
	limits
	shapes map[reflect.Type]string // names that stand for the types a generic function was instantiated with
}

// The names of the constants of a type, for types that have any.
var constants = map[string]map[int64]string{}

func typeName(t reflect.Type, shapes map[reflect.Type]string) string {
	if shape, ok := shapes[t]; ok {
		return shape
	}
	if t.Name() != "" && strings.Contains(t.PkgPath(), "/") {
		return t.PkgPath() + "." + t.Name()
	}
	if t.Name() == "" {
		switch t.Kind() {
		case reflect.Pointer:
			return "*" + typeName(t.Elem(), shapes)
		case reflect.Slice:
			return "[]" + typeName(t.Elem(), shapes)
		case reflect.Array:
			return "[" + strconv.Itoa(t.Len()) + "]" + typeName(t.Elem(), shapes)
		}
	}
	return t.String()
}

// "(*T)(0x...)": an address standing for what lies there.
func at(t, address string) string {
	if strings.Contains(t, "/") {
		t = strconv.Quote(t)
	}
	return "(" + t + ")(" + address + ")"
}

func hex(p uintptr) string { return "0x" + strconv.FormatUint(uint64(p), 16) }

func (p *printer) address(s shown) string {
	if !s.placed || !s.v.CanAddr() {
		return unknownAddress
	}
	return hex(s.v.UnsafeAddr())
}

func withoutTop(in style) style { in.top = false; return in }

func (p *printer) typeName(t reflect.Type) string {
	name := typeName(t, p.shapes)
	if p.lines && strings.HasSuffix(name, "]") && strings.Contains(name, ",") {
		// The shortened form of a generic type has a space after each comma.
		name = strings.ReplaceAll(name, ",", ", ")
	}
	return name
}

func (p *printer) text(s shown, in style) string {
	t := p.typeName(s.v.Type())
	typed := func(text string) string {
		if in.typed {
			return t + " " + text
		}
		return text
	}
	switch v := s.v; v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return named(t, v.Int(), strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return named(t, int64(v.Uint()), strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32:
		return strconv.FormatFloat(v.Float(), 'f', -1, 32)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Complex64, reflect.Complex128:
		bits := v.Type().Bits() / 2
		c := v.Complex()
		return "(" + strconv.FormatFloat(real(c), 'f', -1, bits) + " + " + strconv.FormatFloat(imag(c), 'f', -1, bits) + "i)"
	case reflect.String:
		return strconv.Quote(cut(v.String(), p.strings))
	case reflect.Slice:
		head := ""
		if in.typed {
			head = t + " len: " + strconv.Itoa(v.Len()) + ", cap: " + strconv.Itoa(v.Cap()) + ", "
		}
		if v.IsNil() {
			return head + "nil"
		}
		return head + p.elements(s, true, in)
	case reflect.Array:
		return typed(p.elements(s, s.placed, in))
	case reflect.Struct:
		return p.structure(s, t, in)
	case reflect.Pointer:
		return p.pointer(s, t, in)
	case reflect.UnsafePointer:
		return "unsafe.Pointer(" + hex(v.Pointer()) + ")"
	case reflect.Interface:
		return p.iface(s, t, in)
	case reflect.Map:
		return typed(p.mapping(s, in))
	case reflect.Chan:
		switch {
		case v.IsNil() && in.lines:
			return typed("{}")
		case v.IsNil():
			return t + " nil"
		}
		return t + " " + strconv.Itoa(v.Len()) + "/" + strconv.Itoa(v.Cap())
	case reflect.Func:
		if v.IsNil() {
			return "nil"
		}
		return runtime.FuncForPC(v.Pointer()).Name()
	}
	return "(a kind this program cannot say)"
}

func named(t string, n int64, digits string) string {
	if name, ok := constants[t][n]; ok {
		return name + " (" + digits + ")"
	}
	return digits
}

func cut(text string, limit int) string {
	if len(text) > limit {
		return text[:limit] + "...+" + strconv.Itoa(len(text)-limit) + " more"
	}
	return text
}

// The last kind that a chain of pointers leads to, and whether there was a pointer on the way.
func (p *printer) leads(v reflect.Value) (kind reflect.Kind, pointed bool, text string) {
	for v.Kind() == reflect.Pointer {
		pointed = true
		if v.IsNil() {
			return v.Type().Elem().Kind(), true, ""
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.String {
		text = cut(v.String(), p.strings)
		if len(v.String()) > p.strings {
			text = v.String()[:p.strings]
		}
	}
	return v.Kind(), pointed, text
}

const shortString = 7

func isAggregate(k reflect.Kind) bool {
	return k == reflect.Slice || k == reflect.Array || k == reflect.Struct || k == reflect.Map || k == reflect.Interface
}

func (p *printer) elements(s shown, placed bool, in style) string {
	count := s.v.Len()
	if count > p.limits.elements {
		count = p.limits.elements
	}
	lines := false
	if in.lines && count > 0 {
		kind, pointed, _ := p.leads(s.v.Index(0))
		lines = isAggregate(kind)
		if kind == reflect.String {
			lines = pointed
			for i := 0; i < count; i++ {
				_, _, text := p.leads(s.v.Index(i))
				lines = lines || len(text) > shortString
			}
		}
	}
	inner := style{lines: lines, indent: in.indent + "\t"}
	var out strings.Builder
	out.WriteString("[")
	for i := 0; i < count; i++ {
		if lines {
			out.WriteString("\n" + inner.indent)
		}
		out.WriteString(p.text(shown{s.v.Index(i), s.level + 1, placed}, inner))
		if lines || i+1 < count {
			out.WriteString(",")
		}
	}
	if more := s.v.Len() - count; more > 0 {
		switch {
		case count == 0:
			out.WriteString("...")
		case lines:
			out.WriteString("\n" + inner.indent + "...+" + strconv.Itoa(more) + " more")
		default:
			out.WriteString(",...+" + strconv.Itoa(more) + " more")
		}
	}
	if lines {
		out.WriteString("\n" + in.indent)
	}
	out.WriteString("]")
	return out.String()
}

func (p *printer) structure(s shown, t string, in style) string {
	all := s.v.NumField()
	if s.level > p.depth && all > 0 {
		return at("*"+t, p.address(s))
	}
	count := all
	if count > p.fields {
		count = p.fields
	}
	lines := false
	if in.lines {
		for i := 0; i < count; i++ {
			kind, pointed, text := p.leads(s.v.Field(i))
			lines = lines || isAggregate(kind) || kind == reflect.String && (pointed || len(text) > shortString)
		}
	}
	inner := style{typed: true, lines: lines, indent: in.indent + "\t"}
	var out strings.Builder
	if in.typed {
		out.WriteString(t + " ")
	}
	out.WriteString("{")
	for i := 0; i < count; i++ {
		if lines {
			out.WriteString("\n" + inner.indent)
		}
		out.WriteString(s.v.Type().Field(i).Name + ": " + p.text(shown{s.v.Field(i), s.level + 1, s.placed}, inner))
		if lines {
			out.WriteString(",")
		} else if i+1 < count {
			out.WriteString(", ")
		}
	}
	if count < all {
		if lines {
			out.WriteString("\n" + inner.indent)
		} else {
			out.WriteString(",")
		}
		out.WriteString("...+" + strconv.Itoa(all-count) + " more")
	}
	out.WriteString("}")
	return out.String()
}

func (p *printer) pointer(s shown, t string, in style) string {
	if s.v.IsNil() {
		if in.typed {
			return "*" + p.typeName(s.v.Type().Elem()) + " nil"
		}
		return "*nil"
	}
	address := at(t, hex(s.v.Pointer()))
	if !p.follow {
		return address
	}
	level := s.level
	switch s.v.Type().Elem().Kind() {
	case reflect.Interface:
		level++
	case reflect.Pointer:
		if s.level > p.depth {
			return address
		}
		level++
	}
	head := ""
	if in.top && in.lines {
		head = address + "\n"
	}
	return head + "*" + p.text(shown{s.v.Elem(), level, true}, withoutTop(in))
}

func (p *printer) iface(s shown, t string, in style) string {
	if s.v.IsNil() {
		if in.typed {
			return t + " nil"
		}
		return "nil"
	}
	data := s.v.Elem()
	head := ""
	if in.typed {
		head = t + "(" + p.typeName(data.Type()) + ") "
	}
	loaded := s.level <= p.depth
	inner := style{typed: !in.typed, lines: in.lines, indent: in.indent}
	if data.Kind() == reflect.Pointer {
		switch {
		case !loaded:
			return head + "..."
		case data.IsNil():
			return head + "nil"
		case !p.follow:
			// The address shown is that of the interface's own data word.
			if !s.placed || !s.v.CanAddr() {
				return head + unknownAddress
			}
			return head + hex(s.v.UnsafeAddr()+8)
		}
		return head + p.text(shown{data, s.level, true}, inner)
	}
	if !loaded {
		if strings.Contains(t, "/") {
			return head + "*(*" + strconv.Quote(t) + ")(" + p.address(s) + ")"
		}
		return head + "*(*" + t + ")(" + p.address(s) + ")"
	}
	// What an interface holds lies on the heap, at the address in its data word; a copy made by reflection does not.
	return head + p.text(shown{dataOf(s, data), s.level, true}, inner)
}

// Whether an interface holds values of this type in its data word, rather than the address of them.
func isPointerShaped(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	case reflect.Array:
		return t.Len() == 1 && isPointerShaped(t.Elem())
	case reflect.Struct:
		return t.NumField() == 1 && isPointerShaped(t.Field(0).Type)
	}
	return false
}

// The value an interface holds, at its own place rather than as reflection's copy.
func dataOf(s shown, data reflect.Value) reflect.Value {
	if isPointerShaped(data.Type()) {
		return data
	}
	box := reflect.New(s.v.Type())
	if s.v.CanAddr() {
		box = reflect.NewAt(s.v.Type(), unsafe.Pointer(s.v.UnsafeAddr()))
	} else {
		box.Elem().Set(s.v)
	}
	words := (*[2]unsafe.Pointer)(box.UnsafePointer())
	return reflect.NewAt(data.Type(), words[1]).Elem()
}

func (p *printer) mapping(s shown, in style) string {
	switch {
	case s.v.IsNil():
		return "nil"
	case s.v.Len() == 0:
		return "[]"
	case p.limits.elements == 0 || s.level > p.depth:
		return "[...]"
	}
	// The order of a map's elements is nobody's to know: the corpus has maps of one element only.
	inner := style{lines: in.lines, indent: in.indent + "\t"}
	out := "["
	for _, key := range s.v.MapKeys() {
		if in.lines {
			out += "\n" + inner.indent
		}
		keyStyle := style{indent: inner.indent}
		out += p.text(shown{key, s.level + 1, false}, keyStyle) + ": "
		out += p.text(shown{s.v.MapIndex(key), s.level + 1, false}, inner)
		if in.lines {
			out += ", \n" + in.indent
		}
	}
	return out + "]"
}

type said struct {
	Name  string            `json:"name"`
	Class string            `json:"class"`
	Text  map[string]string `json:"text"`
	// In a generic function, the text in terms of shapes.
	Shapes map[string]string `json:"shapes,omitempty"`
}

type event struct {
	Function string `json:"function"`
	Return   bool   `json:"return"`
	Values   []said `json:"values"`
}

var output = json.NewEncoder(os.Stdout)

// What a test counts apart: the kinds that must be readable nearly always are ints, strings, slices and pointers.
func classOf(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Float32 || k == reflect.Float64 || k == reflect.Complex64 || k == reflect.Complex128:
		return "float"
	case k >= reflect.Bool && k <= reflect.Uintptr:
		return "int"
	case k == reflect.Pointer || k == reflect.UnsafePointer:
		return "pointer"
	case k == reflect.Interface:
		return "interface"
	case k == reflect.Struct && holdsFloat(t):
		return "struct with floats"
	case k == reflect.Array && holdsFloat(t):
		return "array with floats"
	default:
		return t.Kind().String()
	}
}

func holdsFloat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return t.Len() > 0 && holdsFloat(t.Elem())
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			if holdsFloat(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// say writes what the trace of one call or return must show. The values are given by address, so that an
// interface keeps its static type. They are copies that the caller holds, never the callee's own.
func say(function string, isReturn bool, names []string, values ...any) {
	sayGeneric(nil, function, isReturn, names, values...)
}

// sayGeneric is say for a generic function, with the names of the shapes of its type arguments.
func sayGeneric(shapes map[reflect.Type]string, function string, isReturn bool, names []string, values ...any) {
	e := event{Function: function, Return: isReturn, Values: []said{}}
	for i, pointer := range values {
		v := reflect.ValueOf(pointer).Elem()
		one := said{Name: names[i], Class: classOf(v.Type()), Text: map[string]string{}, Shapes: map[string]string{}}
		for verbosity, l := range verbosities {
			in := style{top: true, typed: true, lines: l.lines}
			p := printer{l, nil}
			one.Text[verbosity] = p.text(shown{v, 0, false}, in)
			if shapes != nil {
				p := printer{l, shapes}
				one.Shapes[verbosity] = p.text(shown{v, 0, false}, in)
			}
			if v.Kind() == reflect.Chan && !v.IsNil() && l.lines {
				one.Text[verbosity] = "" // the runtime's own structure of a channel differs between Go versions
			}
		}
		e.Values = append(e.Values, one)
	}
	if err := output.Encode(e); err != nil {
		panic(err)
	}
}
