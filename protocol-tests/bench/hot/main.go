// Calls one of two functions as often as it is told and says how long a call took: `hot add 1000`, `hot find 1000`.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

type Order struct {
	ID    int
	Owner string
}

//go:noinline
func add(x, y int) int { return x + y }

var errAbsent = errors.New("no such key")

//go:noinline
func find(order *Order, key string, tags []string) (string, error) {
	if order.ID == 0 {
		return "", errAbsent
	}
	return key, nil
}

func main() {
	what := os.Args[1]
	calls, _ := strconv.Atoi(os.Args[2])
	order := &Order{7, "Ada"}
	tags := []string{"new", "paid", "sent"}
	keys := make([]string, 16)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	fmt.Printf("order %p\n", order)
	sum := 0
	start := time.Now()
	if what == "add" {
		for i := 0; i < calls; i++ {
			sum += add(i, 2*i)
		}
	} else {
		for i := 0; i < calls; i++ {
			value, _ := find(order, keys[i%16], tags)
			sum += len(value)
		}
	}
	took := time.Since(start)
	fmt.Printf("sum %d\nnanoseconds %.1f\n", sum, float64(took.Nanoseconds())/float64(calls))
}
