package main

import (
	"errors"
	"fmt"
	"unsafe"
)

// The types whose values the generated functions take and give.

type Color int

const (
	Red Color = iota + 1
	Green
	Blue
)

func init() {
	constants["main.Color"] = map[int64]string{1: "Red", 2: "Green", 3: "Blue"}
}

type Name string
type Tiny uint8
type Names []string

type Empty struct{}

type Point struct{ X, Y int }

type Mixed struct {
	A int8
	B string
	C bool
}

type Blank struct {
	A int
	_ int32
	B uint8
}

type Nested struct {
	P Point
	N string
}

type Wide struct {
	A int
	B string
	C uint16
	D bool
	E []int
	F int64
}

type Holder struct {
	S []string
	A [2]int
	M map[string]int
}

type Linked struct {
	Value int
	Next  *Linked
}

type Carrier struct {
	Err   error
	Any   any
	Shape Shape
}

type Deep struct {
	L1 struct {
		L2 struct {
			L3 struct {
				L4 struct{ Leaf int }
				S  string
			}
		}
	}
}

type Floats struct {
	F float32
	D float64
}

type One struct{ V int }
type OnePointer struct{ P *Point }
type Packed struct {
	A uint8
	B uint16
	C uint32
	D uint8
}
type Doubly struct {
	Mixed
	P *Point
	F func(int) string
}

type Shape interface{ Area() int }

type Square struct{ Side int }

func (s Square) Area() int { return s.Side * s.Side }

type Circle struct{ Radius int }

func (c *Circle) Area() int { return 3 * c.Radius * c.Radius }

type Meters int

func (m Meters) Area() int { return int(m) }

type CodeError struct {
	Code int
	Text string
}

func (e CodeError) Error() string { return e.Text }

type PointerError struct{ Code int }

func (e *PointerError) Error() string { return "pointer error" }

type TextError string

func (e TextError) Error() string { return string(e) }

type Pair[K comparable, V any] struct {
	Key   K
	Value V
}

type Stack[T any] struct{ items []T }

var (
	anInt            = 42
	aString          = "pointed at"
	aPoint           = Point{3, -4}
	anArray          = [3]int{7, 8, 9}
	aSlice           = []string{"p", "q"}
	aPointer         = &aPoint
	anInterface any  = 5
	aStruct          = Nested{Point{5, 6}, "nested"}
	aCircle          = &Circle{4}
	aBool            = true
	aByte       byte = 200
	aLink            = &Linked{1, &Linked{2, &Linked{3, &Linked{4, &Linked{5, nil}}}}}
	base             = errors.New("the base error")
	wrapped          = fmt.Errorf("outer: %w", base)
	aChannel         = make(chan int, 4)
	many             = make([]int, 150)
	roomy            = make([]int, 2, 10)
	manyStrings      = []string{"a", "bb", "ccc", "a long string, longer than seven", "", "f", "g"}
	aDeep       Deep
	untyped     unsafe.Pointer = unsafe.Pointer(&anInt)
)

func init() {
	aChannel <- 1
	aChannel <- 2
	aDeep.L1.L2.L3.L4.Leaf = 77
	aDeep.L1.L2.L3.S = "third"
	for i := range many {
		many[i] = i * i
	}
}

func callback(n int) string { return "called" }

func plain() {}

// touch and use keep values alive and registers busy across a call.

var touched int

//go:noinline
func touch(n int) int {
	touched += n
	return n
}

//go:noinline
func use(values ...any) { touched += len(values) }

//go:noinline
func fill(room *[6000]byte) {
	for i := range room {
		room[i] = byte(i)
	}
}
