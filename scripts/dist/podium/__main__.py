import podium

if __name__ == "__main__":
    podium.main()
