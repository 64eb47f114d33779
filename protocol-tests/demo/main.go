// A small shop that takes a few orders a second: the sample program of `make demo`.
package main

import (
	"errors"
	"fmt"
	"time"
)

// An Item is one line of an order.
type Item struct {
	Name  string
	Cents int
	Count int
}

// An Order waits to be taken.
type Order struct {
	Number   int
	Customer string
	Items    []Item
}

// A Shop has a stock of items.
type Shop struct {
	Name  string
	stock map[string]int
}

var errSoldOut = errors.New("sold out")

//go:noinline
func (s *Shop) reserve(name string, count int) error {
	if s.stock[name] < count {
		return fmt.Errorf("%s: %w", name, errSoldOut)
	}
	s.stock[name] -= count
	return nil
}

//go:noinline
func price(items []Item, discount bool) (cents int) {
	for _, item := range items {
		cents += item.Cents * item.Count
	}
	if discount {
		cents -= cents / 10
	}
	return cents
}

//go:noinline
func (s *Shop) take(order *Order, first Item) (receipt string, err error) {
	for _, item := range order.Items {
		if err := s.reserve(item.Name, item.Count); err != nil {
			return "", err
		}
	}
	cents := price(order.Items, len(order.Items) > 1)
	receipt = fmt.Sprintf("#%d %s: %d.%02d", order.Number, order.Customer, cents/100, cents%100)
	return receipt, nil // a logpoint stands here
}

func main() {
	shop := &Shop{"Corner Shop", map[string]int{"tea": 1000, "cake": 3, "jam": 1000}}
	customers := []string{"Ada", "Grace", "Edsger", "Barbara"}
	baskets := [][]Item{
		{{"tea", 350, 2}},
		{{"cake", 499, 1}, {"tea", 350, 1}},
		{{"jam", 275, 3}},
	}
	for number := 1; ; number++ {
		basket := baskets[number%len(baskets)]
		order := &Order{number, customers[number%len(customers)], basket}
		receipt, err := shop.take(order, basket[0])
		if err != nil {
			fmt.Println("refused:", err)
		} else {
			fmt.Println("taken:", receipt)
		}
		time.Sleep(150 * time.Millisecond)
	}
}
