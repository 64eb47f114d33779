// Every kind of value, in one frame.
package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"example.org/values/fixture/inner/shop"
	"example.org/values/fixture/inner/wares/v2"
)

type Color int

const (
	Red Color = iota
	Green
	Blue
)

type Flags uint

const (
	FlagA Flags = 1 << iota
	FlagB
	FlagC
)

type Point struct{ X, Y int }

func (p Point) Sum() int    { return p.X + p.Y }
func (p *Point) Move(d int) { p.X += d }

type Shape interface{ Sum() int }

type Base struct {
	ID   int
	Tags []string
}

type Nested struct {
	Base
	*Point
	Inner struct{ A, B int8 }
	Next  *Nested
	Any   interface{}
	Err   error
	_     int
	M     map[string]int
	F     func(int) int
	Ch    chan int
}

type List[T any] struct {
	Items []T
	Head  T
}

func (l *List[T]) First() T { return l.Items[0] }

type Pair[K comparable, V any] struct {
	Key K
	Val V
}

type Big struct{ A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P [2]int64 }

var (
	counter   = 42
	globalMap = map[string]Point{"g": {1, 2}}
	errGlobal = errors.New("global")
)

func main() {
	b := true
	i8, i16, i32, i64 := int8(-8), int16(-1600), int32(-320000), int64(math.MinInt64)
	u8, u16, u32, u64 := uint8(200), uint16(60000), uint32(4000000000), uint64(math.MaxUint64)
	n := 7
	up := uintptr(0xabc)
	f32, f64 := float32(1.5), 2.25
	inf, ninf, nan := math.Inf(1), math.Inf(-1), math.NaN()
	c64, c128 := complex64(complex(1, -2)), complex(3.5, 4)
	s := "héllo \"w\"\n"
	empty := ""
	long := ""
	for len(long) < 700 {
		long += "0123456789"
	}
	bad := "\xff\xfe"
	color, colorX := Blue, Color(9)
	flags, flagsX := FlagA|FlagC, Flags(9)
	r := 'x'
	p := Point{3, 4}
	pp := &p
	ppp := &pp
	var nilp *Point
	arr := [3]int{1, 2, 3}
	arr2 := [2][2]int{{1, 2}, {3, 4}}
	arrS := [2]string{"a", "b"}
	parr := &arr
	sl := []int{10, 20, 30, 40}
	slcap := sl[1:2:3]
	var nilsl []int
	emptysl := []string{}
	bytes := []byte("bytes")
	runes := []rune("rünes")
	big := make([]int, 100)
	for i := range big {
		big[i] = i * i
	}
	ptrs := []*Point{{1, 2}, nil}
	strs := []string{"one", "two"}
	structs := []Point{{1, 2}, {3, 4}}
	m := map[string]int{"only": 1}
	m2 := map[int]string{}
	for i := 0; i < 100; i++ {
		m2[i] = fmt.Sprint("v", i)
	}
	delete(m2, 50)
	m3 := map[uint32]int64{}
	for i := uint32(0); i < 3333; i++ {
		m3[i*7] = -int64(i)
	}
	delete(m3, 21)
	var nilm map[string]int
	emptym := map[string]int{}
	mp := map[Point]string{{1, 2}: "p"}
	mi := map[interface{}]int{"k": 1}
	mb := map[bool][]int{true: {1}}
	mf := map[float64]bool{1.5: true}
	mbig := map[[40]int32]Big{{1}: {A: [2]int64{5, 6}}}
	mset := map[string]struct{}{"x": {}}
	mptr := map[string]*Point{"p": {5, 6}}
	ch := make(chan int, 4)
	ch <- 11
	ch <- 22
	var nilch chan string
	unbuf := make(chan Point)
	var iface interface{} = 42
	var ifaceS interface{} = "str"
	var ifaceP interface{} = pp
	var ifaceStruct interface{} = p
	var ifaceNil interface{}
	var ifaceMap interface{} = m
	var ifaceFunc interface{} = shop.Order.Total
	var ifaceSl interface{} = sl
	var shape Shape = p
	var shapeP Shape = pp
	var shapeNil Shape
	err := fmt.Errorf("wrapped: %w", errGlobal)
	var errNil error
	fn := shop.Order.Total
	captured, byRef := 5, 6
	closure := func(d int) int { byRef++; return captured + byRef + d }
	closure(1)
	var nilfn func()
	method := p.Sum
	uns := unsafe.Pointer(pp)
	var nilun unsafe.Pointer
	nested := Nested{Base: Base{ID: 9, Tags: []string{"t"}}, Point: pp, Any: 1, Err: err, M: m, F: closure, Ch: ch}
	nested.Next = &nested
	nested.Inner.A = 1
	anon := struct {
		A int
		B string
	}{1, "anon"}
	order := shop.Order{ID: 1, Name: "order"}
	porder := &order
	grade := shop.Mid
	list := List[int]{Items: []int{1, 2}, Head: 3}
	listS := &List[shop.Order]{Items: []shop.Order{order}}
	pair := Pair[string, int]{"k", 1}
	t0 := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	var tzero time.Time
	dur := 1500 * time.Millisecond
	var mu sync.Mutex
	var wg sync.WaitGroup
	zero := struct{}{}
	zarr := [0]int{}
	bools := []bool{true, false}
	shadowed := 1
	deep := &[]map[string][]Point{{"k": {{1, 2}}}}
	escaped := 77
	pescaped := &escaped
	cyc := []interface{}{nil}
	cyc[0] = cyc
	if n > 0 {
		shadowed := "inner"
		pause()
		fmt.Fprintln(os.Stderr, shadowed)
	}
	later := 1
	use(b, i8, i16, i32, i64, u8, u16, u32, u64, n, up, f32, f64, inf, ninf, nan, c64, c128, s, empty, long, bad, color, colorX, flags, flagsX, r, p, pp, ppp, nilp)
	use(arr, arr2, arrS, parr, sl, slcap, nilsl, emptysl, bytes, runes, big, ptrs, strs, structs, m, m2, m3, nilm, emptym, mp, mi, mb, mf, mbig, mset, mptr)
	use(ch, nilch, unbuf, iface, ifaceS, ifaceP, ifaceStruct, ifaceNil, ifaceMap, ifaceFunc, ifaceSl, shape, shapeP, shapeNil, err, errNil, fn, captured, byRef, closure, nilfn, method, uns, nilun)
	use(&nested, anon, order, porder, grade, &list, listS, pair, t0, tzero, dur, &mu, &wg, zero, zarr, bools, shadowed, deep, pescaped, cyc, later, counter, globalMap, shop.Limit, shop.Last, wares.Stock, wares.Best)
	list.First()
	pp.Move(1)
	generic(order, 3)
	generic("text", 4)
	arguments(1, "two", []int{3}, p, pp, 2.5, nested)
	func() {
		inside := captured + byRef
		pause()
		use(inside, captured, byRef)
	}()
	ranges(3)
	fmt.Println("ready")
	spin(21, "spun", []int{4, 5}, 2.5, p, pp)
}

// spin goes on until it is killed, what it was passed in registers if it was optimised.
//
//go:noinline
func spin(number int, text string, list []int, half float64, point Point, pointer *Point) int {
	rounds := 0
	for number > 0 {
		rounds += len(text) + len(list) + point.X + pointer.Y
		if half > float64(number) {
			return point.Y
		}
		number = 21 + rounds&1
	}
	return cap(list)
}

var pauses int

// pause rests at the pause whose number is the program's argument: for a debugger that is attached, or, with BREAK set, for one that runs the program.
//
//go:noinline
func pause() {
	pauses++
	if len(os.Args) > 1 && fmt.Sprint(pauses) != os.Args[1] {
		return
	}
	if os.Getenv("BREAK") != "" {
		runtime.Breakpoint()
		return
	}
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
}

//go:noinline
func generic[T any](value T, number int) (result T) {
	values := []T{value, value}
	pause()
	use(values, number)
	return value
}

//go:noinline
func arguments(a int, b string, c []int, d Point, e *Point, f float64, g Nested) (sum int, err error) {
	sum = a + len(b) + len(c) + d.X
	pause()
	use(a, b, c, d, e, f, g)
	return sum, nil
}

//go:noinline
func use(values ...interface{}) {
	if len(os.Args) > 5 {
		fmt.Println(values...)
	}
}
