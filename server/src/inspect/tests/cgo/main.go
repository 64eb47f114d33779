// Go calls C calls Go, twice over, and parks there.
package main

/*
extern void goBack(int depth);

static void there(int depth) {
	volatile char room[64];
	room[0] = (char)depth;
	goBack(depth);
	room[1] = room[0];
}

static void away(int depth) {
	volatile int kept = depth;
	there(kept);
	kept = 0;
}

static int spin_in_c(void) {
	for (volatile int i = 0; ; i++) {
	}
	return 0;
}
*/
import "C"

import (
	"fmt"
	"io"
	"os"
	"time"
)

var never = make(chan int)

func main() {
	go outward(2)
	go func() { C.spin_in_c() }()
	<-parked
	time.Sleep(50 * time.Millisecond)
	fmt.Println("ready")
	io.ReadAll(os.Stdin)
}

var parked = make(chan bool)

//go:noinline
func outward(depth int) {
	C.away(C.int(depth))
}

//export goBack
func goBack(depth C.int) {
	if depth > 1 {
		outward(int(depth) - 1)
		return
	}
	parked <- true
	if len(os.Args) > 1 {
		<-never
	}
	for {
		spun++
	}
}

var spun int
